// Checks of what a recovery would find: keys, the copy elsewhere, the log, drills.
#include "common/backup/elsewhere.h"
#include "common/base/text.h"
#include "common/checks/facts.h"
#include "common/checks/settings_checks.h"
#include "common/deployment/deployment.h"
#include "common/drill/key_rotation.h"
#include "common/drill/recovery_findings.h"
#include "common/storage/location.h"

namespace aragora::checks {

namespace key = config::key;

namespace {
// What matters in production and is only said elsewhere.
Finding missing(const Context& context, const std::string& message, std::string_view setting, std::string hint) {
  if (!context.config.production()) return skipped(message);
  return warning(message, context.config.origin(setting).text, std::move(hint));
}

// What `backup status` says of the subject, in the words of checks: one judge for both.
std::vector<Finding> said(const Context& context, drill::Subject subject, std::string_view title) {
  const auto& facts = context.facts->recovery.get();
  if (facts.failure)
    return {{Level::Failure, fmt::format("{}: {}", title, facts.failure->what()),
             context.config.backupDirectory().string(), facts.failure->hint(), Code::CheckFailed}};
  if (!facts.statements)
    return {skipped(fmt::format("{}: there is no encryption key to read the backups with", title))};
  std::vector<Finding> findings;
  for (const auto& statement : *facts.statements) {
    if (statement.subject != subject) continue;
    auto finding = statement.level == drill::Level::Ok ? ok(statement.text)
                   : statement.level == drill::Level::Unset
                       ? missing(context, statement.text, key::kBackupDirectory, statement.hint)
                       : warning(statement.text, context.config.backupDirectory().string(), statement.hint);
    if (statement.level == drill::Level::Failure) finding.level = Level::Failure;
    findings.push_back(std::move(finding));
  }
  if (findings.empty()) findings.push_back(skipped(fmt::format("{}: there is nothing to look at yet", title)));
  return findings;
}
}  // namespace

std::vector<Finding> checkRecoveryKeys(const Context& context) {
  const auto recipients = context.config.list(key::kBackupRecipients);
  for (const auto& recipient : recipients) {
    try {
      crypto::parseAgeRecipient(recipient);
    } catch (const Error& error) {
      return {misconfigured(fmt::format("Recovery key: {}", error.what()),
                            context.config.origin(key::kBackupRecipients).text, error.hint())};
    }
  }
  if (!recipients.empty())
    return {ok(fmt::format("Recovery key: backups are sealed for {} besides this machine's",
                           counted(recipients.size(), "key")))};
  if (!context.config.isSet(key::kEncryptionKey) && context.config.isSet(key::kBackupWriterKey))
    return {ok("Recovery key: nothing on this machine opens its backups")};
  return {missing(context, "Recovery key: only the key of this machine opens its backups", key::kBackupRecipients,
                  "run: aragora backup keygen --out recovery.key, name its public part in ARAGORA_BACKUP_RECIPIENTS "
                  "and take the file away")};
}

std::vector<Finding> checkOffsite(const Context& context) {
  const auto& config = context.config;
  if (!config.isSet(key::kOffsite))
    return {missing(context, "Copy elsewhere: none; what this machine loses is lost", key::kOffsite,
                    "set ARAGORA_OFFSITE to s3://bucket/prefix or the path of a mounted directory")};
  const auto origin = config.origin(key::kOffsite).text;
  try {
    const auto place = storage::offsite(config);
    if (context.offline) return {skipped("Copy elsewhere: not looked at (offline)")};
    backup::requireElsewhere(*place);
    place->list();
  } catch (const Error& error) {
    auto finding = misconfigured(fmt::format("Copy elsewhere: {}", error.what()), origin, error.hint());
    if (error.code() != Code::Config) finding.code = Code::Unreachable;
    return {finding};
  }
  return said(context, drill::Subject::Offsite, "Copy elsewhere");
}

// A change of keys is begun by naming the old one, and over when that is gone again. Until then the next step is said.
std::vector<Finding> checkKeySteps(const Context& context) {
  const auto& config = context.config;
  if (!config.isSet(key::kPreviousKeys)) return {ok("Key steps: no change of the encryption key is under way")};
  if (context.offline || !config.resolved(key::kPreviousKeys) || !config.resolved(key::kEncryptionKey))
    return {skipped("Key steps: not looked at (offline)")};
  const auto origin = config.origin(key::kPreviousKeys).text;
  try {
    const auto keyring = deployment::requireKeyring(config);
    auto target = deployment::databaseTarget(config);
    target.connect_timeout = std::min<std::chrono::milliseconds>(target.connect_timeout, context.timeout);
    const auto state = drill::keyState(
        {target, config.stateDirectory(), config.backupDirectory(), storage::offsite(config), context.timeout / 2},
        keyring);
    const auto next = drill::nextStep(state, keyring);
    if (next.empty()) return {ok("Key steps: every key that is named is the active one")};
    return {warning("Key steps: a change of the encryption key is under way", origin, "next: " + next)};
  } catch (const Error& error) {
    return {{Level::Warning, fmt::format("Key steps: what is next could not be seen: {}", error.what()), origin,
             error.hint(), Code::CouldNotVerify}};
  }
}

std::vector<Finding> checkRecoveryWindow(const Context& context) {
  return said(context, drill::Subject::Window, "Recovery window");
}

std::vector<Finding> checkRecoveryLoss(const Context& context) {
  return said(context, drill::Subject::Loss, "Recovery loss");
}

std::vector<Finding> checkRecoveryTime(const Context& context) {
  return said(context, drill::Subject::Time, "Recovery time");
}

std::vector<Finding> checkBackupProof(const Context& context) {
  return said(context, drill::Subject::Proof, "Backup proof");
}

std::vector<Finding> checkBackupKeys(const Context& context) {
  return said(context, drill::Subject::Keys, "Backup keys");
}

std::vector<Finding> checkBackupSpace(const Context& context) {
  return said(context, drill::Subject::Space, "Backup space");
}

// Before the first one it is a matter of production only.
std::vector<Finding> checkBackupAge(const Context& context) {
  const auto& facts = context.facts->recovery.get();
  if (facts.no_backup)
    return {missing(context,
                    fmt::format("Backup age: there is no backup in {}", context.config.backupDirectory().string()),
                    key::kBackupDirectory, "run: aragora backup")};
  return said(context, drill::Subject::Backups, "Backup age");
}

std::vector<Finding> checkSlotGuard(const Context& context) {
  if (!context.config.usesPostgres()) return {skipped("Slot guard: there are no slots with SQLite")};
  const auto& facts = context.facts->database.get();
  if (facts.failure) return {skipped("Slot guard: PostgreSQL was not reached")};
  if (facts.slots == 0) return {skipped("Slot guard: no replication slot keeps log")};
  const auto guard = context.config.text(key::kSlotGuard);
  const auto origin = context.config.origin(key::kSlotGuard).text;
  const bool limited = facts.slot_keep_mb >= 0;
  if (guard == "keep-production" && !limited)
    return {misconfigured("Slot guard: backup.slot_guard is keep-production and max_slot_wal_keep_size is unlimited",
                          origin, "ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf()")};
  if (guard == "keep-log" && limited)
    return {misconfigured(fmt::format("Slot guard: backup.slot_guard is keep-log and max_slot_wal_keep_size is {} MB",
                                      facts.slot_keep_mb),
                          origin, "ALTER SYSTEM SET max_slot_wal_keep_size = -1; SELECT pg_reload_conf()")};
  if (guard == "undecided" && !limited)
    return {
        warning(fmt::format("Slot guard: {} {} log without a limit; a receiver that is gone fills the server's disk",
                            counted(facts.slots, "slot"), agreeing(facts.slots, "keeps", "keep")),
                origin,
                "set max_slot_wal_keep_size on the server and ARAGORA_SLOT_GUARD=keep-production, or accept it: "
                "ARAGORA_SLOT_GUARD=keep-log")};
  return {ok(limited ? fmt::format("Slot guard: the server keeps at most {} for slots",
                                   humanBytes(static_cast<std::uint64_t>(facts.slot_keep_mb) << 20))
                     : std::string("Slot guard: the server keeps log without a limit, as chosen"))};
}

// What no schedule decides: whether the server answers a commit before the receiver has it.
std::vector<Finding> checkLastCommits(const Context& context) {
  if (!context.config.usesPostgres()) return {skipped("Last commits: SQLite has no receiver")};
  const auto& facts = context.facts->database.get();
  if (facts.failure) return {skipped("Last commits: PostgreSQL was not reached")};
  if (facts.slots == 0) return {skipped("Last commits: no receiver takes the log")};
  return {ok(facts.commits_wait
                 ? "Last commits: each is in the received log before it is answered"
                 : "Last commits: those of the last instant are lost with the server's disk, which the objective "
                   "allows; synchronous_standby_names = 'aragora_wal' makes commits wait for the receiver")};
}

std::vector<Finding> checkDrills(const Context& context) {
  return said(context, drill::Subject::Drill, "Recovery drill");
}

}  // namespace aragora::checks
