#include "cli/commands/migrate_guard.h"

#include "common/backup/ownership.h"
#include "common/drill/recent_proof.h"
#include "common/migrate/contents.h"

namespace aragora::cli {

namespace {
constexpr std::chrono::hours kAge{24};
}  // namespace

void BackupGuard::require(const std::string& command) const {
  if (!wanted || met()) return;
  throw Error(Code::CheckFailed,
              fmt::format("in production the schema is not changed without a backup of the last {} hours that was "
                          "proved by restoring it: {}; nothing was changed",
                          kAge.count(), lack),
              fmt::format("aragora backup, aragora backup verify, and again; or without one: {} --no-backup", command));
}

BackupGuard lookForBackup(Context& context, int schema) {
  BackupGuard guard;
  const auto target = context.target();
  guard.wanted = context.config().production() && migrate::holdsData(target);
  if (!guard.wanted) return guard;
  try {
    // What the database was told of its backups and what lies elsewhere say nothing of what this one is worth.
    const auto state = drill::recoveryState({context.backupDirectory({}),
                                             drill::objectivesOf(context.config()),
                                             &context.backupKeyring(),
                                             target,
                                             false,
                                             false,
                                             {}});
    const auto ours = backup::instanceOf(target).value_or("");
    const auto live = database::connect(target);
    const drill::WantedProof wanted{*live, ours, kAge, schema};
    if (const auto proof = drill::recentProof(state, wanted)) {
      guard.backup = proof->backup.id;
      guard.proof = fmt::format("{}, {}", proof->backup.id, proof->how);
    } else {
      guard.lack = drill::whyNoRecentProof(state, wanted);
    }
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    guard.lack = fmt::format("the backups cannot be looked at: {}", error.what());
  }
  return guard;
}

json::value describe(const BackupGuard& guard) {
  if (!guard.wanted) return nullptr;
  return json::object{{"proved", guard.met() ? json::value(guard.backup) : json::value(nullptr)},
                      {"lacks", guard.met() ? json::value(nullptr) : json::value(guard.lack)}};
}

}  // namespace aragora::cli
