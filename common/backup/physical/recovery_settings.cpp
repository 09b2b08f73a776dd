#include "common/backup/physical/recovery_settings.h"

#include "common/base/text.h"

namespace aragora::backup {

namespace {
using Goal = RecoveryTarget::Kind;

// The abbreviation Z is not known yet when the server reads its settings.
std::string postgresTime(Micros at) {
  return fmt::format("{} {}.{:06}+00", toIso(at).substr(0, 10), toIso(at).substr(11, 8), at % 1'000'000);
}

// For the shell that runs the command; % is PostgreSQL's.
std::string quoted(const fs::path& path) {
  return "'" + replaceAll(replaceAll(path.string(), "'", "'\\''"), "%", "%%") + "'";
}

// What was read ahead is moved away. It is waited for a little while, with what a shell has of its own: a process of
// ours costs more than a file of the log. Anything else is asked for, and answered with what stops a recovery.
std::string restoreCommand(const LogSource& source) {
  return fmt::format(
      "for i in 1 2 3 4 5 6; do [ -e {0}/%f ] && break; sleep 0.005; done; mv {0}/%f %p 2>/dev/null || exec {1} "
      "restore wal-get %f %p --from {2}",
      quoted(source.ahead), quoted(source.program), quoted(source.socket));
}
}  // namespace

std::map<std::string, std::string> recoverySettings(const RecoveryTarget& target, std::uint32_t timeline,
                                                    const fs::path& data, const LogSource& source) {
  std::map<std::string, std::string> settings{{"restore_command", restoreCommand(source)},
                                              {"recovery_target_timeline", fmt::format("{}", timeline)},
                                              // While it is looked at: triggers and rules of the source do not fire.
                                              {"session_replication_role", "replica"},
                                              {"recovery_target_action", "promote"}};
  if (parseInteger(trim(readFile(data / "PG_VERSION", 64))).value_or(0) >= 17)
    settings["event_triggers"] = "off";  // those of logins are new in 17
  if (target.exclusive) settings["recovery_target_inclusive"] = "off";
  switch (target.kind) {
    case Goal::Latest:
      break;
    case Goal::Time:
      settings["recovery_target_time"] = postgresTime(*fromIso(target.value));
      break;
    case Goal::Name:
      settings["recovery_target_name"] = target.value;
      break;
    case Goal::Position:
      settings["recovery_target_lsn"] = target.value;
      break;
    case Goal::Xid:
      settings["recovery_target_xid"] = target.value;
      break;
    case Goal::Consistent:
      settings["recovery_target"] = "immediate";
      break;
  }
  return settings;
}

}  // namespace aragora::backup
