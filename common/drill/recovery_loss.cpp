// How much would be lost, and between which moments recovery is possible.
#include "common/base/text.h"
#include "common/drill/recovery_judge.h"

namespace aragora::drill {

namespace {
using backup::formatLsn;
using backup::Kind;

constexpr Micros kReceiverSilence = 30'000'000;
constexpr const char* kStartReceiver = "systemctl enable --now aragora-wal";
constexpr const char* kLookAtReceiver = "systemctl status aragora-wal";
constexpr const char* kNewBase = "aragora backup create --kind base";
constexpr const char* kLookAtSaving = "systemctl status aragora; journalctl -u aragora";
}  // namespace

std::string Judge::objectiveText() const { return fmt::format("{} min", objectives_.rpo.count() / 60); }

bool Judge::scheduleMeetsObjective() const { return objectives_.every <= objectives_.rpo; }

std::string Judge::scheduleText() const {
  return fmt::format("up to {} h would be lost, the objective is {}", objectives_.every.count(), objectiveText());
}

// A round may be on its way; what takes longer than two is late, whatever the objective allows.
void Judge::increments() {
  const auto& increments = state_.increments;
  if (!increments.saving && !increments.newest) return;
  const auto saving = increments.saving.value_or(backup::SavingStatus{});
  const auto interval = saving.interval_seconds > 0 ? saving.interval_seconds : objectives_.save_interval.count();
  const auto unsaved = static_cast<double>(state_.at - increments.saved_through) / 1e6;
  const auto through = increments.saved_through > 0 ? toIso(increments.saved_through) : std::string("nothing");
  if (increments.newest && ahead(Subject::Window, "The newest increment", *increments.newest)) return;
  if (ahead(Subject::Window, "What was saved", increments.saved_through)) return;
  if (!increments.lacks.empty())
    say(Subject::Window, Level::Failure, "Increments: " + increments.lacks.front(), "aragora backup create");
  if (increments.missing)
    say(Subject::Window, Level::Failure,
        fmt::format("Increments: number {} of {} was written and is not there, or does not hold", saving.increment,
                    saving.full),
        "aragora backup verify");
  if (!saving.problem.empty())
    say(Subject::Window, Level::Failure,
        fmt::format("Increments: {} rounds in a row failed, the first {}: {}", saving.failures,
                    ago(saving.failing_since, state_.at), saving.problem),
        kLookAtSaving);
  else if (increments.changed && unsaved > static_cast<double>(2 * interval + 10))
    say(Subject::Window, Level::Failure,
        fmt::format("Increments: the database was written to and is saved through {} only, {}{}", through,
                    ago(increments.saved_through, state_.at), saving.alive ? "" : "; nobody saves"),
        saving.alive ? kLookAtSaving : "systemctl start aragora, or: aragora backup run");
  else
    say(Subject::Window, saving.alive ? Level::Ok : Level::Warning,
        fmt::format("Increments: saved through {} ({}){}{}", through, ago(increments.saved_through, state_.at),
                    increments.changed ? "" : ", nothing changed since", saving.alive ? "" : "; nobody saves now"),
        saving.alive ? "" : "systemctl start aragora, or: aragora backup run");
}

void Judge::window() {
  base();
  receiver();
  server();
}

void Judge::base() {
  const auto& window = state_.window;
  if (!state_.log_lacks.empty())
    say(Subject::Window, Level::Failure,
        fmt::format("The log: {} that a recovery needs {} not whole: {}", counted(state_.log_lacks.size(), "file"),
                    agreeing(state_.log_lacks.size(), "is", "are"), state_.log_lacks.front()),
        fmt::format("look for them elsewhere (--from offsite); then: {}", kNewBase));
  if (!window) {
    if (state_.hasLog() && !state_.kind(Kind::Base).newest)
      say(Subject::Window, Level::Failure, "Recovery to a moment: not possible, there is no base backup", kNewBase);
    return;
  }
  if (!state_.hasLog())
    return say(Subject::Window, scheduleMeetsObjective() ? Level::Ok : Level::Failure,
               fmt::format("Recovery to a moment: not possible behind base backup {} ({}): nothing receives the log",
                           window->base, toIso(window->from)),
               scheduleMeetsObjective() ? "" : kStartReceiver);
  bool broken = window->gap;
  for (const auto& [what, healed] : state_.breaks) {
    broken |= !healed;
    say(Subject::Window, healed ? Level::Ok : Level::Failure,
        fmt::format("Recovery cannot pass position {} of timeline {}{}: {}", formatLsn(what.after), what.timeline,
                    healed ? "; a base backup begins behind it" : "", printable(what.why, 300)),
        healed ? "" : kNewBase);
  }
  const auto through = window->through ? toIso(*window->through) : fmt::format("position {}", formatLsn(window->end));
  say(Subject::Window, broken ? Level::Failure : Level::Ok,
      fmt::format("Recovery to a moment: {} through {}{}", toIso(window->from), through,
                  window->gap ? ", where the log has a gap"
                  : broken    ? " is what was received; it ends at the break"
                              : ""),
      broken ? kNewBase : "");
  const auto look = fmt::format("look for it elsewhere (--from offsite); then: {}", kNewBase);
  if (!window->missing.empty()) say(Subject::Window, Level::Failure, "The log: " + window->missing, look);
  if (state_.log && !window->gap && state_.log->timeline == window->timeline && window->end < state_.log->flushed)
    say(Subject::Window, Level::Failure,
        fmt::format("The log was confirmed through {}, the archive ends at {}: what is between is gone",
                    formatLsn(state_.log->flushed), formatLsn(window->end)),
        look);
  branches();
}

// More than one way: after a recovery took the database's place, or a standby was promoted.
void Judge::branches() {
  if (state_.window->branches.size() < 2) return;
  for (const auto& branch : state_.window->branches)
    say(Subject::Window, branch.base.empty() ? Level::Warning : Level::Ok,
        fmt::format("Timeline {}{}: through {}{}", branch.timeline,
                    branch.parent > 0
                        ? fmt::format(", which left timeline {} at {}", branch.parent, formatLsn(branch.left_parent_at))
                        : "",
                    branch.through ? toIso(*branch.through) : "position " + formatLsn(branch.end),
                    branch.base.empty() ? ", and no base backup leads to its end" : ""),
        branch.base.empty() ? kNewBase : fmt::format("--target-timeline {}", branch.timeline));
}

void Judge::receiver() {
  if (!state_.log) return;
  const auto& log = *state_.log;
  if (ahead(Subject::Window, "The receiver's status", log.updated_at)) return;
  const bool silent = state_.at - log.updated_at > kReceiverSilence;
  if (silent || !log.problem.empty())
    say(Subject::Window, Level::Failure,
        fmt::format("Log receiver: nothing since {} ({}){}{}", toIso(log.updated_at), ago(log.updated_at, state_.at),
                    log.problem.empty() ? "" : ": ", log.problem),
        kLookAtReceiver);
  else if (losesLog(log.slot_state))
    say(Subject::Window, Level::Failure, fmt::format("Log receiver: slot {} is {}", log.slot, name(log.slot_state)),
        "raise max_slot_wal_keep_size, and see why the receiver is behind");
  else
    say(Subject::Window, Level::Ok,
        fmt::format("Log receiver: on disk through {}, slot {} {}", formatLsn(log.flushed), log.slot,
                    name(log.slot_state)));
}

// The server forgets what the receiver has confirmed: there must be nothing between the two.
void Judge::server() {
  if (!state_.server || !state_.hasLog()) return;
  const auto& server = *state_.server;
  const auto slot = state_.log ? state_.log->slot : std::string("aragora");
  if (!server.failure.empty())
    return say(Subject::Window, Level::Warning, "Live server: not compared: " + server.failure, "");
  if (server.wal_level == "minimal")
    say(Subject::Window, Level::Failure, "Live server: wal_level is minimal: its log cannot be replayed",
        "ALTER SYSTEM SET wal_level = replica; restart it");
  if (!server.has_slot && state_.log)
    say(Subject::Window, Level::Failure,
        fmt::format("Live server: there is no slot {}: it keeps no log for the receiver", slot), kLookAtReceiver);
  else if (losesLog(server.slot_state))
    say(Subject::Window, Level::Failure, fmt::format("Live server: slot {} is {}", slot, name(server.slot_state)),
        "raise max_slot_wal_keep_size, and see why the receiver is behind");
  if (state_.window && server.kept_from > state_.window->end)
    say(Subject::Window, Level::Failure,
        fmt::format("Live server: it was told that {} is safe, the archive ends at {}: what is between is gone",
                    formatLsn(server.kept_from), formatLsn(state_.window->end)),
        fmt::format("look for it elsewhere (--from offsite); then: {}", kNewBase));
}

void Judge::lost(const std::string& where, std::optional<double> seconds) {
  const auto objective = static_cast<double>(objectives_.rpo.count());
  if (!seconds)
    return say(Subject::Loss, Level::Failure, fmt::format("What would be lost with {} is not known yet", where),
               state_.sqlite ? kLookAtSaving : kLookAtReceiver);
  const bool misses = *seconds > objective;
  say(Subject::Loss, misses ? Level::Failure : Level::Ok,
      fmt::format("Lost with {}: commits of the last {} (objective {})", where, humanDuration(*seconds),
                  humanDuration(objective)),
      misses ? (state_.sqlite ? kLookAtSaving : kLookAtReceiver) : "");
}

void Judge::loss() { state_.sqlite ? sqliteLoss() : postgresLoss(); }

void Judge::sqliteLoss() {
  if (state_.increments.saving || state_.increments.newest) {
    if (!state_.kind(Kind::Full).newest) return;  // said already
    lost("the database", state_.lossHere());
    if (!objectives_.offsite.empty() && state_.copy) lost("this machine", state_.lossElsewhere());
  } else if (!scheduleMeetsObjective()) {
    say(Subject::Loss, Level::Unset, "Between two backups " + scheduleText(), "set ARAGORA_BACKUP_CONTINUOUS=true");
  }
}

void Judge::postgresLoss() {
  if (state_.hasLog()) {
    if (state_.log && ahead(Subject::Loss, "The server's clock", state_.log->durable_through)) return;
    lost("the database", state_.lossHere());
    if (!state_.log && state_.lossHere() && *state_.lossHere() > 0)
      statements_.back().hint = "only complete files are archived: set archive_timeout, or use aragora-wal";
    if (!objectives_.offsite.empty() && (state_.log || state_.offsite)) lost("this machine", state_.lossElsewhere());
  } else if (!scheduleMeetsObjective()) {
    say(Subject::Loss, state_.window ? Level::Failure : Level::Unset, "Between two backups " + scheduleText(),
        fmt::format("{}; {}", kStartReceiver, kNewBase));
  }
}

}  // namespace aragora::drill
