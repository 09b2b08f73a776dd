// Whether anybody would be told of failures.
#include "common/base/text.h"
#include "common/checks/settings_checks.h"
#include "common/notify/delivery.h"

namespace aragora::checks {

namespace {
std::string listed(const notify::Options& options) {
  std::vector<std::string> names;
  for (const auto channel : options.channels()) names.emplace_back(notify::name(channel));
  return join(names, ", ");
}
}  // namespace

std::vector<Finding> checkNotify(const Context& context) {
  const auto& config = context.config;
  std::vector<Finding> findings;
  for (const auto& trouble : notify::troublesOf(config)) {
    if (alreadySaid(context, trouble.setting, "Notifications")) continue;
    const auto message = fmt::format("{}: {}", config.variable(trouble.setting), trouble.message);
    const auto origin = config.origin(trouble.setting).text;
    findings.push_back(trouble.fatal ? misconfigured(message, origin, trouble.hint)
                                     : warning(message, origin, trouble.hint));
  }
  const auto options = notify::optionsOf(config);
  if (findings.empty() && !options.tellsPeople()) {
    const std::string message = "Notifications: nobody is told of failures";
    if (config.production())
      return {warning(message, config.origin(config::key::kWebhookUrl).text,
                      "set ARAGORA_NOTIFY_WEBHOOK_URL and ARAGORA_NOTIFY_WEBHOOK_KEY, or ARAGORA_NOTIFY_EMAIL_TO; "
                      "then: aragora notify test")};
    return {skipped(message)};
  }
  if (findings.empty()) findings.push_back(ok("Notifications: " + listed(options)));
  return findings;
}

// Somebody answers there; what he does with what he is sent says `aragora notify test`.
std::vector<Finding> checkNotifyReach(const Context& context) {
  const auto options = notify::optionsOf(context.config);
  if (options.channels().empty()) return {skipped("Notifications: no channel is configured that could be reached")};
  std::vector<Finding> findings;
  const auto deadline = deadlineIn(context.timeout * 4 / 5);
  for (const auto channel : options.channels()) {
    const auto outcome = notify::lookAt(options, channel, {deadline, {}});
    if (!outcome.delivered)
      findings.push_back({Level::Failure, "Notifications: " + notify::describe(outcome), "",
                          outcome.hint.empty() ? "see: aragora notify test" : outcome.hint, Code::Unreachable});
  }
  if (findings.empty()) findings.push_back(ok(fmt::format("Notifications: {} can be reached", listed(options))));
  return findings;
}

}  // namespace aragora::checks
