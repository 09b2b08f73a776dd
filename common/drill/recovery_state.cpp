#include "common/drill/recovery_state.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <thread>

#include "common/backup/elsewhere.h"
#include "common/backup/increments.h"
#include "common/backup/ledger.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/drill/recovery_judge.h"

namespace aragora::drill {

namespace {
using backup::Entry;
using backup::Kind;

constexpr auto kSealingTime = std::chrono::milliseconds(500);

double secondsBetween(Micros from, Micros to) { return std::max(0.0, static_cast<double>(to - from) / 1e6); }

// Empty when its files are all there and as long as the manifest says; digests take a `backup verify`.
std::string whatIsMissing(const Entry& entry) {
  for (const auto& file : entry.manifest->files) {
    struct stat status {};
    const auto path = entry.directory.path() / file.path;
    if (::stat(path.c_str(), &status) != 0) return fmt::format("{}: {}", path.string(), systemError(errno));
    if (static_cast<std::uint64_t>(status.st_size) != file.stored_size)
      return fmt::format("{} has {} bytes, not {}", path.string(), status.st_size, file.stored_size);
  }
  return {};
}

std::string whyNotGood(const Entry& entry) {
  if (!entry.problem.empty()) return entry.problem;
  if (!entry.manifest) return "it has no manifest";
  if (!entry.good()) return entry.verifications.back().message;
  return whatIsMissing(entry);
}

KindState look(const std::vector<Entry>& entries, const backup::Rule& rule, Micros now) {
  KindState state;
  state.rule = rule;
  state.count = entries.size();
  for (const auto& entry : entries) {
    if (!entry.disbelieved.empty()) state.disbelieved.push_back(entry.disbelieved);
    if (const auto why = whyNotGood(entry); !why.empty()) {
      const bool named = why.find(entry.id) != std::string::npos;
      state.bad.push_back(named ? printable(why, 500) : fmt::format("{}: {}", entry.id, printable(why, 500)));
      continue;
    }
    const auto finished = entry.manifest->finished_at;
    if (backup::isOfTheFuture(entry, now)) {
      state.future.push_back(fmt::format("{}, made {}", entry.id, toIso(finished)));
      state.future_is_past = false;
      continue;
    }
    state.newest = entry;
    if (!state.oldest) state.oldest = finished;
    if (!entry.proven()) continue;
    state.proven = entry;
    state.future_is_past = true;
    for (const auto& found : entry.verifications) {
      if (found.ok && found.level >= 2 && (!state.proof || found.at > state.proof->at))
        state.proof = Proof{entry.id, found.at, "verified"};
    }
  }
  state.next_due = backup::nextDue(rule, entries, now);
  state.shrunk = backup::shrinkage(entries);
  const auto period = std::chrono::microseconds(rule.every).count();
  state.late = period > 0 && (!state.newest || now - state.newest->manifest->finished_at > period * 3 / 2);
  return state;
}

// What a drill proved of a backup counts as long as that backup is there and whole.
void addDrills(std::vector<KindState>& kinds, const std::vector<Kept>& drills,
               const std::map<Kind, std::vector<Entry>>& all) {
  for (const auto& kept : drills) {
    if (!kept.authentic || !jsonFlagOr(kept.document, "recovered", false)) continue;
    const auto made_of = kindFor(parseWay(jsonTextOr(kept.document, "kind", "")).value_or(Way::Logical));
    const auto at = fromIso(jsonTextOr(kept.document, "started_at", "")).value_or(0);
    const auto backup = jsonTextOr(kept.document, "backup", "");
    for (auto& kind : kinds) {
      if (kind.rule.kind != made_of || (kind.proof && at <= kind.proof->at)) continue;
      const auto& entries = all.at(kind.rule.kind);
      if (std::any_of(entries.begin(), entries.end(),
                      [&](const auto& one) { return one.id == backup && whyNotGood(one).empty(); }))
        kind.proof = Proof{backup, at, "drilled"};
    }
  }
}

std::optional<LastDrill> lastDrill(const std::vector<Kept>& drills) {
  if (drills.empty()) return std::nullopt;
  const auto& kept = drills.back();
  LastDrill drill{kept.id,
                  fromIso(jsonTextOr(kept.document, "started_at", "")).value_or(0),
                  kept.authentic,
                  kept.authentic && jsonFlagOr(kept.document, "passed", false),
                  {},
                  {}};
  if (kept.authentic && jsonFlagOr(kept.document, "recovered", false)) {
    drill.rto_seconds = jsonNumberOr(kept.document, "rto_seconds", 0);
    drill.rpo_seconds = jsonNumberOr(kept.document, "rpo_seconds", 0);
  }
  return drill;
}

IncrementState lookAtIncrements(const StateOptions& options, const std::optional<Entry>& full) {
  IncrementState state;
  state.saving = backup::savingStatus(options.directory);
  if (full) state.newest = backup::newestIncrement(*full, *options.keyring);
  const auto& saving = state.saving;
  const auto files = backup::lookAtDatabaseFiles(options.live.path);
  if (saving && saving->saved_through > 0) {
    state.saved_through = saving->saved_through;
    state.changed = !files || backup::changedSince(saving->seen, *files);
    state.missing = full && saving->full == full->id && saving->increment > 0 && !state.newest;
  }
  if (full) state.lacks = whatIncrementsLack(*full);
  // A full backup saves everything, too.
  const auto known = std::max(state.newest.value_or(0), full ? full->manifest->started_at : 0);
  if (known > state.saved_through) {
    state.saved_through = known;
    state.changed = !files || files->newest() > known;
  }
  return state;
}

// Of those that a base backup which is kept leads to. Behind one only a base backup that begins there leads on.
std::vector<Break> breaksOf(const backup::RecoveryWindow& window, const std::vector<Entry>& bases) {
  std::vector<Break> breaks;
  for (const auto& what : window.interruptions) {
    const auto any = [&](auto&& holds) {
      return std::any_of(bases.begin(), bases.end(), [&](const Entry& base) {
        return base.good() && base.manifest->physical && holds(base.manifest->physical->start);
      });
    };
    if (any([&](backup::Lsn start) { return start <= what.after; }))
      breaks.push_back({what, any([&](backup::Lsn start) { return start >= what.after; })});
  }
  return breaks;
}

std::optional<Micros> newestSegment(const backup::WalArchive& archive) {
  std::optional<Micros> newest;
  for (const auto timeline : archive.timelines()) {
    const auto folder = archive.directory() / fmt::format("{:08X}", timeline);
    for (const auto& item : folder.list()) {
      struct stat status {};
      if (item.folder || !endsWith(item.name, ".zst.age") || item.name.size() < 24 + 8 ||
          ::stat((folder.path() / item.name).c_str(), &status) != 0)
        continue;
      newest = std::max<Micros>(newest.value_or(0), status.st_mtim.tv_sec * 1'000'000 + status.st_mtim.tv_nsec / 1000);
    }
  }
  return newest;
}

bool lacksSomething(const RecoveryState& state) {
  const auto& window = state.window;
  return !state.log_lacks.empty() || (window && (window->gap || !window->missing.empty())) ||
         (window && state.log && window->end < state.log->flushed);
}

void lookAtArchive(RecoveryState& state, const backup::WalArchive& archive, const StateOptions& options) {
  state.log_lacks = whatLogLacks(archive.directory(), state.timelines);
  if (auto forged = archive.forgedInterruptions(); !forged.empty()) state.log_lacks.push_back(std::move(forged));
  try {
    state.window = backup::recoveryWindow(options.directory, *options.keyring);
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    state.log_lacks.emplace_back(error.what());
  }
}

void lookAtLog(RecoveryState& state, const StateOptions& options, const std::vector<Entry>& bases) {
  const backup::WalArchive archive(options.directory / "wal", *options.keyring);
  const bool received = archive.segmentSize() > 0;
  state.timelines = archive.timelines();
  lookAtArchive(state, archive, options);
  if (received && lacksSomething(state)) {  // or a listing that met the receiver while it completed a segment
    std::this_thread::sleep_for(kSealingTime);
    lookAtArchive(state, archive, options);
  }
  if (!received) return;
  state.offsite = backup::offsiteLogStatus(options.directory);
  state.newest_segment = newestSegment(archive);
  if (state.window) state.breaks = breaksOf(*state.window, bases);
  if (auto found = tryLogKeys(archive, *options.keyring)) state.keys.push_back(std::move(*found));
}

Amount amountOf(const RecoveryState& state, Way way) {
  const auto& newest = state.kind(kindFor(way)).newest;
  if (!newest) return {};
  Amount amount{newest->manifest->storedSize(), 0};
  if (way == Way::Logical) {
    for (const auto& item : backup::incrementsDirectory(*newest).list()) amount.log += item.size;
  } else if (const auto& base = newest->manifest->physical; base && state.window) {
    amount.log = state.window->end > base->start ? state.window->end - base->start : 0;
  }
  return amount;
}

void predict(RecoveryState& state, const StateOptions& options, const std::vector<Kept>& drills) {
  const auto way = state.kind(Kind::Base).newest ? Way::Physical : Way::Logical;
  if (!state.kind(kindFor(way)).newest) return;
  const auto amount = amountOf(state, way);
  state.predictions.push_back(predictRecovery(drills, options.directory, Where::Local, way, amount));
  if (!options.objectives.offsite.empty())
    state.predictions.push_back(predictRecovery(drills, options.directory, Where::Offsite, way, amount));
}

std::string placeProblem(const Objectives& objectives) {
  try {
    return objectives.place ? backup::whyNotElsewhere(*objectives.place) : objectives.place_problem;
  } catch (const Error& error) {
    return error.what();
  }
}

// The newest that was complete before the copy elsewhere was.
std::optional<Entry> newestCopied(const std::vector<Entry>& entries, Micros complete_at) {
  std::optional<Entry> newest;
  for (const auto& entry : entries) {
    if (entry.good() && entry.manifest->finished_at <= complete_at) newest = entry;
  }
  return newest;
}

std::optional<Elsewhere> lookThere(const RecoveryState& state, const StateOptions& options,
                                   const std::map<Kind, std::vector<Entry>>& entries) {
  if (options.elsewhere || !options.ask_elsewhere || !state.copy || !state.place_problem.empty())
    return options.elsewhere;
  const auto& place = options.objectives.place;
  if (!place) return std::nullopt;
  Copied copied{{}, state.offsite};
  for (const auto& [kind, all] : entries) {
    if (auto newest = newestCopied(all, state.copy->complete_at)) copied.entries.push_back(std::move(*newest));
  }
  return lookElsewhere(*place, copied, *options.keyring);
}

// Before the first backup: of the directory that its own will be made in.
void lookAtSpace(RecoveryState& state) {
  auto directory = state.directory;
  std::error_code ignored;
  state.directory_missing = !fs::exists(directory, ignored);
  while (directory.has_relative_path() && !fs::exists(directory, ignored)) directory = directory.parent_path();
  struct statvfs space {};
  if (::statvfs(directory.c_str(), &space) != 0) return;
  state.free_bytes = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  state.no_inodes = space.f_files > 0 && space.f_favail == 0;
  state.read_only = (space.f_flag & ST_RDONLY) != 0;
}
}  // namespace

const KindState& RecoveryState::kind(Kind which) const {
  const auto found =
      std::find_if(kinds.begin(), kinds.end(), [&](const KindState& state) { return state.rule.kind == which; });
  ARAGORA_CHECK(found != kinds.end());
  return *found;
}

bool RecoveryState::matters(const KindState& kind) const {
  if (kind.rule.kind == Kind::Full) return true;
  if (kind.rule.kind == Kind::Base) return hasLog() || kind.count > 0;
  return kind.count > 0;
}

std::optional<double> RecoveryState::lossHere() const {
  if (sqlite) {
    if (!increments.saving && !increments.newest) return std::nullopt;
    if (increments.saved_through == 0) return std::nullopt;
    return increments.changed ? secondsBetween(increments.saved_through, at) : 0.0;
  }
  if (log) return log->durable_through > 0 ? std::optional(secondsBetween(log->durable_through, at)) : std::nullopt;
  if (newest_segment) return secondsBetween(*newest_segment, at);
  return std::nullopt;
}

std::optional<double> RecoveryState::lossElsewhere() const {
  if (sqlite) {
    const auto here = lossHere();
    if (!here || !copy || copy->complete_at == 0) return std::nullopt;
    const auto newest = std::max(increments.newest.value_or(0),
                                 kind(Kind::Full).newest ? kind(Kind::Full).newest->manifest->finished_at : 0);
    // What is there is all that there is.
    return copy->complete_at >= newest ? *here : secondsBetween(copy->complete_at, at);
  }
  if (!offsite || offsite->durable_through == 0) return std::nullopt;
  if (log && offsite->flushed >= log->flushed) return lossHere();
  return secondsBetween(offsite->durable_through, at);
}

const Prediction* RecoveryState::prediction(Where place) const {
  for (const auto& prediction : predictions) {
    if (prediction.place == place) return &prediction;
  }
  return nullptr;
}

namespace {
// Before the backups and the archive are looked at: what was made or confirmed by then must be in them. In the other
// order, a receiver that works would look like one that lost something.
backup::ToldHeads ask(RecoveryState& state, const StateOptions& options) {
  if (!state.sqlite) {
    const backup::WalArchive archive(options.directory / "wal", *options.keyring);
    if (archive.segmentSize() > 0) state.log = archive.readStatus();
  }
  if (!state.sqlite && !options.ask_server) return {};
  auto answers = askLive(options.live, options.directory, state.log ? state.log->slot : "aragora", *options.keyring);
  state.server = std::move(answers.server);
  state.told_failure = answers.told.failure;
  return std::move(answers.told);
}
}  // namespace

RecoveryState recoveryState(const StateOptions& options) {
  RecoveryState state;
  state.at = nowMicros();
  state.directory = options.directory;
  state.sqlite = options.live.engine == database::Engine::Sqlite;
  state.opens = options.keyring->opensBackups();
  const auto told = ask(state, options);
  const auto drills = history(options.directory, *options.keyring);
  std::map<Kind, std::vector<Entry>> all;
  for (const auto& rule : options.objectives.policy) {
    const auto entries = backup::Repository(options.directory, options.keyring, rule.kind).list();
    auto believed = backup::authentic(entries, *options.keyring);
    state.kinds.push_back(look(believed, rule, state.at));
    auto findings =
        backup::compareWithLedger(options.directory, rule.kind, entries, *options.keyring, told.of(rule.kind));
    state.kinds.back().gone = std::move(findings.problem);
    state.kinds.back().gone_hint = std::move(findings.hint);
    if (!entries.empty()) state.keys.push_back(tryKeys(name(rule.kind), entries, *options.keyring));
    all[rule.kind] = std::move(believed);
  }
  addDrills(state.kinds, drills, all);
  const auto& full = state.kind(Kind::Full).newest;
  if (state.sqlite) {
    state.increments = lookAtIncrements(options, full);
    if (auto found = full ? tryIncrementKeys(*full, *options.keyring) : std::nullopt)
      state.keys.push_back(std::move(*found));
  } else {
    lookAtLog(state, options, all[Kind::Base]);
  }
  state.copy = backup::offsiteStatus(options.directory);
  state.place_problem = placeProblem(options.objectives);
  state.elsewhere = lookThere(state, options, all);
  state.drill = lastDrill(drills);
  predict(state, options, drills);
  lookAtSpace(state);
  return state;
}

}  // namespace aragora::drill
