#include "common/base/log.h"
#include "common/base/text.h"
#include "common/checks/check.h"
#include "common/migrate/migrator.h"
#include "daemon/assembly.h"

namespace aragora::daemon {

namespace key = config::key;

void configureLog(const config::Config& config) {
  log::configure(log::parseLevel(config.text(key::kLogLevel)).value_or(log::Level::Info),
                 config.text(key::kLogFormat) == "json");
}

// The same checks as validate-env, those tagged for start-up. Throws with all failures.
std::vector<std::string> requireStartable(const config::Loaded& loaded, Occasion occasion, bool same_certificate) {
  const auto report = checks::runChecks({loaded.config, loaded.problems, loaded.environment_origins, loaded.config_file,
                                         "", occasion == Occasion::Reload, std::chrono::seconds(5), nullptr},
                                        {{}, {}, true});
  std::vector<std::string> failures;
  std::vector<std::string> known;
  for (const auto& outcome : report.outcomes) {
    for (const auto& finding : outcome.findings) {
      const auto text =
          fmt::format("{}{}{}", finding.message, finding.origin.empty() ? "" : fmt::format(" [{}]", finding.origin),
                      finding.hint.empty() ? "" : fmt::format(" → {}", finding.hint));
      const bool in_use = same_certificate && outcome.check->id == "certificate";
      if (finding.level == checks::Level::Failure) (in_use ? known : failures).push_back(text);
      if (finding.level == checks::Level::Warning) log::warning("{}", text);
    }
  }
  for (const auto& text : known) log::warning("{}", text);
  if (failures.empty()) return known;
  auto code = Code::Unreachable;
  for (const auto cause : {Code::Permission, Code::Config}) {
    if (report.exitStatus(false) == info(cause).exit_status) code = cause;
  }
  // The reason comes last: what shows one line of a container or unit that ended shows that one.
  throw Error(code,
              fmt::format("{}: {} failed ({})\n  {}",
                          occasion == Occasion::Start ? "the daemon does not start" : "the configuration is refused",
                          counted(failures.size(), "check"), config::hintToValidate(), join(failures, "\n  ")));
}

// Outside production the embedded database migrates itself; everything else is an operator's decision.
void prepareDatabase(const config::Config& config, const database::Target& target) {
  migrate::Options options;
  options.on_message = [](std::string_view message) { log::info("{}", message); };
  migrate::Migrator migrator(target, options);
  if (target.engine == database::Engine::Sqlite && !config.production()) migrator.up();
  const auto status = migrator.status();
  migrate::refuseNewer(status);
  if (!status.current())
    throw Error(Code::Config,
                fmt::format("{} {} pending", counted(status.pending.size(), "migration"),
                            agreeing(status.pending.size(), "is", "are")),
                "run: aragora migrate");
}

}  // namespace aragora::daemon
