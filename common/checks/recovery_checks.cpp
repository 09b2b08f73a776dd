// Checks of what a recovery would find: keys, the copy elsewhere, the log, drills.
#include "common/base/text.h"
#include "common/checks/facts.h"
#include "common/checks/settings_checks.h"
#include "common/deployment/deployment.h"
#include "common/drill/recovery_state.h"
#include "common/storage/location.h"

namespace aragora::checks {

namespace key = config::key;

namespace {
constexpr auto kDrillEvery = std::chrono::hours(24 * 100);  // quarterly, and a little
constexpr auto kReceiverSilence = std::chrono::seconds(60);

std::chrono::milliseconds since(Micros at) { return std::chrono::milliseconds((nowMicros() - at) / 1000); }

// What matters in production and is only said elsewhere.
Finding missing(const Context& context, const std::string& message, std::string_view setting, std::string hint) {
  if (!context.config.production()) return skipped(message);
  return warning(message, context.config.origin(setting).text, std::move(hint));
}

std::optional<drill::RecoveryState> stateOf(const Context& context) {
  const auto keyring = deployment::backupKeyring(context.config);
  if (!keyring) return std::nullopt;
  return drill::recoveryState(context.config.backupDirectory(), backup::policyOf(context.config), *keyring);
}

std::string minutes(std::int64_t count) { return fmt::format("{} min", count); }
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
    return {ok(fmt::format("Recovery key: backups are sealed for {} keys besides this machine's", recipients.size()))};
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
  const auto where = config.text(key::kOffsite);
  const auto origin = config.origin(key::kOffsite).text;
  try {
    const auto place = storage::offsite(config);
    if (context.offline) return {skipped("Copy elsewhere: not looked at (offline)")};
    place->list();
    if (place->isLocal() && !fs::is_directory(place->path()))
      return {warning(fmt::format("Copy elsewhere: {} is not there", where), origin, "mount it, or create it")};
  } catch (const Error& error) {
    auto finding = misconfigured(fmt::format("Copy elsewhere: {}", error.what()), origin, error.hint());
    if (error.code() != Code::Config) finding.code = Code::Unreachable;
    return {finding};
  }
  const auto copy = backup::offsiteStatus(config.backupDirectory());
  if (!copy)
    return {missing(context, fmt::format("Copy elsewhere: {} answers, nothing was copied yet", where), key::kOffsite,
                    "run: aragora backup copy")};
  if (!copy->problem.empty())
    return {warning(fmt::format("Copy elsewhere: {}", copy->problem), origin, "run: aragora backup copy")};
  const auto period = std::chrono::hours(config.integer(key::kBackupEveryHours));
  if (since(copy->complete_at) > period * 3 / 2)
    return {warning(fmt::format("Copy elsewhere: complete {} ago, the schedule is every {} h",
                                humanDuration(since(copy->complete_at)), period.count()),
                    origin, "run: aragora backup copy")};
  return {ok(fmt::format("Copy elsewhere: {}, complete {} ago", where, humanDuration(since(copy->complete_at))))};
}

std::vector<Finding> checkRecoveryWindow(const Context& context) {
  const auto& config = context.config;
  const auto objective = config.integer(key::kRpoMinutes);
  const auto state = stateOf(context);
  if (!state) return {skipped("Recovery window: there is no encryption key to read the backups with")};
  if (!config.usesPostgres()) {
    if (config.flag(key::kBackupContinuous) || state->newest_increment)
      return {ok(fmt::format("Recovery window: increments every {} s", config.integer(key::kBackupInterval)))};
    return {missing(context,
                    fmt::format("Recovery window: up to {} h would be lost, the objective is {}",
                                config.integer(key::kBackupEveryHours), minutes(objective)),
                    key::kBackupContinuous, "set ARAGORA_BACKUP_CONTINUOUS=true")};
  }
  if (!state->log)
    return {missing(context,
                    fmt::format("Recovery window: up to {} h would be lost, the objective is {}",
                                config.integer(key::kBackupEveryHours), minutes(objective)),
                    key::kRpoMinutes, "systemctl enable --now aragora-wal; aragora backup create --kind base")};
  const auto origin = (config.backupDirectory() / "wal/status.json").string();
  std::vector<Finding> findings;
  if (!state->window)
    findings.push_back(
        warning("Recovery window: there is log and no base backup", origin, "run: aragora backup create --kind base"));
  else if (state->window->gap)
    findings.push_back(
        warning(fmt::format("Recovery window: the log has a gap at {}", backup::formatLsn(state->window->end)), origin,
                "run: aragora backup create --kind base"));
  if (since(state->log->updated_at) > kReceiverSilence || !state->log->problem.empty())
    findings.push_back(warning(
        fmt::format("Recovery window: nothing was received for {}{}{}", humanDuration(since(state->log->updated_at)),
                    state->log->problem.empty() ? "" : ": ", state->log->problem),
        origin, "systemctl status aragora-wal"));
  if (state->log->slot_state == "unreserved" || state->log->slot_state == "lost")
    findings.push_back(warning(fmt::format("Recovery window: slot {} is {}", state->log->slot, state->log->slot_state),
                               origin, "raise max_slot_wal_keep_size, and see why the receiver is behind"));
  if (findings.empty())
    findings.push_back(ok(fmt::format("Recovery window: {} through {}", toIso(state->window->from),
                                      state->window->through ? toIso(*state->window->through) : "the end of the log")));
  return findings;
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
    return {warning(
        fmt::format("Slot guard: {} slots keep log without a limit; a receiver that is gone fills the server's disk",
                    facts.slots),
        origin,
        "set max_slot_wal_keep_size on the server and ARAGORA_SLOT_GUARD=keep-production, or accept it: "
        "ARAGORA_SLOT_GUARD=keep-log")};
  return {ok(limited ? fmt::format("Slot guard: the server keeps at most {} MB for slots", facts.slot_keep_mb)
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
  const auto state = stateOf(context);
  if (!state) return {skipped("Recovery drill: there is no encryption key to read the evidence with")};
  const auto& drill = state->drill;
  if (!drill) return {missing(context, "Recovery drill: there was none", key::kRtoMinutes, "run: aragora drill")};
  const auto origin = (context.config.backupDirectory() / "drills" / (drill->id + ".md")).string();
  if (!drill->authentic)
    return {warning("Recovery drill: the signature of the last one does not hold", origin, "run: aragora drill")};
  if (!drill->passed)
    return {warning("Recovery drill: the last one did not pass", origin, "read it, and run it again")};
  if (since(drill->at) > kDrillEvery)
    return {missing(context, fmt::format("Recovery drill: the last one was {} ago", humanDuration(since(drill->at))),
                    key::kRtoMinutes, "run: aragora drill")};
  const auto objective = static_cast<double>(context.config.integer(key::kRtoMinutes) * 60);
  if (state->predicted_rto_seconds && *state->predicted_rto_seconds > objective)
    return {warning(fmt::format("Recovery drill: a recovery would take about {:.0f} s, the objective is {:.0f} s",
                                *state->predicted_rto_seconds, objective),
                    context.config.origin(key::kRtoMinutes).text, "run: aragora drill")};
  return {ok(fmt::format("Recovery drill: passed {} ago, in {:.1f} s", humanDuration(since(drill->at)),
                         drill->rto_seconds.value_or(0)))};
}

}  // namespace aragora::checks
