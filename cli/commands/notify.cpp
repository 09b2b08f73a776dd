#include <unistd.h>

#include "cli/commands/commands.h"
#include "cli/unit_report.h"
#include "common/base/text.h"
#include "common/notify/notifier.h"

namespace aragora::cli {

namespace {
using notify::Channel;

struct Options {
  std::optional<std::string> channel;
  std::optional<std::string> unit;
};

constexpr std::chrono::seconds kDeadline{60};  // for a channel: mail servers may think long
constexpr std::chrono::seconds kForKept{60};

notify::Until within(std::chrono::milliseconds span) { return {deadlineIn(span), {}}; }

// Also of a configuration that is wrong elsewhere: failures of that are told, too.
notify::Options optionsOf(Context& context) {
  const auto& config = context.loaded().config;
  for (const auto& trouble : notify::troublesOf(config))
    context.out().marked(Mark::Warning, fmt::format("{}: {}\n    → {}", config.variable(trouble.setting),
                                                    trouble.message, trouble.hint));
  return notify::optionsOf(config);
}

[[noreturn]] void nobody() {
  throw Error(Code::Config, "nobody is told of failures: no channel of [notify] is configured",
              "set ARAGORA_NOTIFY_WEBHOOK_URL and ARAGORA_NOTIFY_WEBHOOK_KEY, or ARAGORA_NOTIFY_EMAIL_TO; see: man "
              "aragora-notify");
}

int show(const Output& out, const std::vector<notify::Outcome>& outcomes) {
  json::array array;
  bool failed = false;
  for (const auto& outcome : outcomes) {
    auto text = notify::describe(outcome);
    if (!outcome.hint.empty()) text += "\n    → " + outcome.hint;
    out.marked(outcome.delivered ? Mark::Ok : Mark::Failure, text);
    failed |= !outcome.delivered;
    array.push_back(notify::toDocument(outcome));
  }
  out.document({{"channels", array}});
  return failed ? info(Code::Unreachable).exit_status : 0;
}

int test(Context& context, const Options& options) {
  const auto how = optionsOf(context);
  auto channels = how.channels();
  if (channels.empty()) nobody();
  if (options.channel) {
    const auto only = *notify::parseChannel(*options.channel);
    if (!how.has(only))
      throw Error(Code::Config, fmt::format("the channel {} is not configured", *options.channel),
                  "see: man aragora-notify");
    channels = {only};
  }
  const auto event = notify::makeEvent(
      notify::State::Test, {"test", notify::Kind::Test, "this is a test: aragora notify test was called here"});
  std::vector<notify::Outcome> outcomes;
  for (const auto channel : channels) {
    const bool people = channel == Channel::Webhook || channel == Channel::Email;
    outcomes.push_back(people ? notify::deliver(how, channel, event, within(kDeadline))
                              : notify::ping(how, channel, notify::Ping::Log, event.what.summary, within(kDeadline)));
  }
  const int status = show(context.out(), outcomes);
  context.out().document({{"exit_status", status}});
  notify::Notifier(how).tellKept(within(kForKept));
  return status;
}

int unit(Context& context, const Options& options) {
  if (!options.unit) throw Error(Code::Usage, "notify unit needs the name of a unit", "such as aragora-backup.service");
  const auto& out = context.out();
  const auto how = optionsOf(context);
  const auto report = reportOn(*options.unit);
  out.document({{"unit", report.unit}, {"summary", report.problem.summary}, {"told_before", false}});
  if (!how.tellsPeople()) {
    out.marked(Mark::Warning, fmt::format("{}; nobody is told: neither webhook nor e-mail of [notify] is configured",
                                          report.problem.summary));
    out.document({{"channels", json::array()}});
    return 0;
  }
  notify::Notifier notifier(how);
  if (notifier.knowsRun(report.invocation)) {
    out.marked(Mark::Info, fmt::format("{}; that run has told of it by itself", report.problem.summary));
    out.document({{"channels", json::array()}, {"told_before", true}});
    return 0;
  }
  const auto outcomes = notifier.report(report.problem, within(2 * kDeadline), report.invocation);
  if (outcomes.empty()) {
    out.marked(Mark::Info, fmt::format("{}; that was told before, and is told again after {}", report.problem.summary,
                                       humanDuration(how.remind)));
    out.document({{"told_before", true}});
  }
  const int status = show(out, outcomes);
  if (status == 0) notifier.tellKept(within(kForKept));
  return status;
}

int status(Context& context) {
  const auto& out = context.out();
  const auto how = optionsOf(context);
  const notify::Notifier notifier(how);
  json::array channels;
  for (const auto channel : how.channels()) {
    channels.push_back(json::string(notify::name(channel)));
    out.marked(Mark::Info, fmt::format("told by {}", notify::name(channel)));
  }
  if (channels.empty()) out.marked(Mark::Warning, "nobody is told of failures: no channel of [notify] is configured");
  json::array problems;
  for (const auto& known : notifier.told().all()) {
    problems.push_back(json::object{{"key", known.what.key},
                                    {"kind", notify::name(known.what.kind)},
                                    {"summary", known.what.summary},
                                    {"since", toIso(known.since)},
                                    {"told_at", known.told_at > 0 ? json::value(toIso(known.told_at)) : nullptr}});
    out.marked(Mark::Failure, fmt::format("{}: {} (since {})", notify::title(known.what.kind), known.what.summary,
                                          toIso(known.since)));
  }
  json::array kept;
  for (const auto& one : notifier.kept().all()) {
    kept.push_back(json::object{{"id", one.event.id},
                                {"channel", notify::name(one.channel)},
                                {"summary", one.event.what.summary},
                                {"problem", one.problem},
                                {"next_at", toIso(one.next_at)}});
    const bool stray = !how.configured(one.channel);
    out.marked(Mark::Warning,
               fmt::format("kept for {}{}: «{}»: {}", notify::name(one.channel),
                           stray ? ", which is not configured here" : "", one.event.what.summary, one.problem));
  }
  if (problems.empty() && kept.empty()) out.marked(Mark::Ok, "nothing that was told lasts, and nothing is kept");
  out.document({{"channels", channels}, {"problems", problems}, {"kept", kept}});
  return 0;
}
}  // namespace

void declareNotify(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.subcommand("test", "Send something on every channel and show what the other side answers")
      .option("--channel", options->channel, "On this one only", oneOf(notify::channelNames()))
      .run([options](Context& context) { return test(context, *options); });
  line.subcommand("unit", "Tell that a unit of systemd failed, with its last lines: what aragora-notify@ runs")
      .positional("name", options->unit, "Its name, such as aragora-backup.service")
      .run([options](Context& context) { return unit(context, *options); });
  line.subcommand("status", "Show who is told, what was told and lasts, and what could not be delivered").run(status);
  line.run([](Context&) -> int { throw Error(Code::Usage, "notify needs a subcommand", "try: aragora notify test"); });
}

}  // namespace aragora::cli
