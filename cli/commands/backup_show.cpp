#include "cli/commands/backup.h"
#include "common/backup/verify_backup.h"
#include "common/base/text.h"
#include "common/drill/recovery_state.h"

namespace aragora::cli::backups {

namespace {
namespace key = config::key;

std::chrono::milliseconds ageOf(Micros at) { return std::chrono::milliseconds((nowMicros() - at) / 1000); }

json::value isoOrNull(std::optional<Micros> at) { return at && *at > 0 ? json::value(toIso(*at)) : nullptr; }
json::value orNull(std::optional<double> number) { return number ? json::value(*number) : nullptr; }

std::string due(const drill::KindState& state, Micros now) {
  if (state.rule.every.count() == 0) return "made when it changes";
  if (state.next_due <= now) return "due now";
  return fmt::format("next in {}", humanDuration(std::chrono::milliseconds((state.next_due - now) / 1000)));
}

// A base is expected only where log is received, artifacts and configuration where something makes them.
bool matters(const drill::RecoveryState& state, const drill::KindState& kind) {
  if (kind.rule.kind == "full") return true;
  if (kind.rule.kind == "base") return state.log.has_value() || kind.count > 0;
  return kind.count > 0;
}

bool showKinds(const Output& out, const drill::RecoveryState& state, json::object& document) {
  bool wrong = false;
  json::array kinds;
  for (const auto& kind : state.kinds) {
    json::object object{{"kind", kind.rule.kind},
                        {"count", kind.count},
                        {"not_good", kind.bad},
                        {"newest_good", kind.newest ? json::value(describe(*kind.newest)) : nullptr},
                        {"newest_proven", kind.proven ? json::value(describe(*kind.proven)) : nullptr},
                        {"keep_days", kind.rule.keep_days},
                        {"next_due", kind.rule.every.count() > 0 ? isoOrNull(kind.next_due) : nullptr},
                        {"late", kind.late && matters(state, kind)}};
    kinds.push_back(object);
    if (!matters(state, kind)) continue;
    wrong |= kind.late || kind.bad > 0;
    const auto name =
        kind.rule.kind == "full" ? std::string("Newest good backup") : fmt::format("Newest {} backup", kind.rule.kind);
    out.marked(kind.late ? Mark::Failure : Mark::Ok,
               kind.newest ? fmt::format("{}: {} ({} ago, {})", name, kind.newest->id,
                                         humanDuration(ageOf(kind.newest->manifest->finished_at)), due(kind, state.at))
                           : fmt::format("{}: none\n    → aragora backup create --kind {}", name, kind.rule.kind));
    if (kind.bad > 0)
      out.marked(Mark::Failure,
                 fmt::format("{} {} backups are not good: see aragora backup list", kind.bad, kind.rule.kind));
  }
  const auto& proven = state.kind("full").proven;
  out.marked(proven ? Mark::Ok : Mark::Warning, proven
                                                    ? fmt::format("Newest proven backup: {} ({} ago)", proven->id,
                                                                  humanDuration(ageOf(proven->manifest->finished_at)))
                                                    : "Newest proven backup: none\n    → aragora backup verify");
  if (state.newest_increment)
    out.marked(Mark::Ok, fmt::format("Newest increment: {} ago", humanDuration(ageOf(*state.newest_increment))));
  document["kinds"] = std::move(kinds);
  return wrong;
}

bool showLog(const Output& out, const drill::RecoveryState& state, json::object& document) {
  document["recovery_window"] = nullptr;
  if (!state.window) {
    if (state.log)
      out.marked(Mark::Failure,
                 "Recovery to a moment: not possible, there is no base backup\n    → aragora backup create --kind "
                 "base");
    return state.log.has_value();
  }
  const auto& window = *state.window;
  const auto through =
      window.through ? toIso(*window.through) : fmt::format("position {}", backup::formatLsn(window.end));
  out.marked(window.gap ? Mark::Failure : Mark::Ok,
             fmt::format("Recovery to a moment: {} through {}{}", toIso(window.from), through,
                         window.gap ? ", where the log has a gap" : ""));
  bool stale = false;
  if (state.log) {
    const auto silent = ageOf(state.log->updated_at);
    stale = silent > std::chrono::seconds(30) || !state.log->problem.empty();
    out.marked(stale ? Mark::Failure : Mark::Ok,
               fmt::format("Log receiver: {}",
                           stale ? fmt::format("nothing since {}{}{}", toIso(state.log->updated_at),
                                               state.log->problem.empty() ? "" : ": ", state.log->problem)
                                 : fmt::format("on disk through {}, slot {} {}", backup::formatLsn(state.log->flushed),
                                               state.log->slot, state.log->slot_state)));
  }
  document["recovery_window"] = json::object{
      {"base", window.base},
      {"from", toIso(window.from)},
      {"through", isoOrNull(window.through)},
      {"end", backup::formatLsn(window.end)},
      {"gap", window.gap},
      {"receiver_updated_at", state.log ? json::value(toIso(state.log->updated_at)) : nullptr},
      {"receiver_problem", state.log && !state.log->problem.empty() ? json::value(state.log->problem) : nullptr}};
  return window.gap || stale;
}

bool showOffsite(Context& context, const drill::RecoveryState& state, json::object& document) {
  const auto& out = context.out();
  document["offsite"] = nullptr;
  if (!context.config().isSet(key::kOffsite)) {
    out.marked(Mark::Warning, "Copy elsewhere: none; what this machine loses is lost\n    → set ARAGORA_OFFSITE");
    return false;
  }
  const auto where = context.config().text(key::kOffsite);
  const bool log_fails = state.offsite && !state.offsite->problem.empty();
  const bool fails = !state.copy || !state.copy->problem.empty() || log_fails;
  const auto problem = !state.copy                    ? std::string("nothing was copied yet")
                       : !state.copy->problem.empty() ? state.copy->problem
                       : log_fails                    ? state.offsite->problem
                                                      : std::string();
  out.marked(
      fails ? Mark::Failure : Mark::Ok,
      fails ? fmt::format("Copy elsewhere: {}: {}\n    → aragora backup copy", where, problem)
            : fmt::format("Copy elsewhere: {}, complete {} ago", where, humanDuration(ageOf(state.copy->complete_at))));
  document["offsite"] =
      json::object{{"place", where},
                   {"complete_at", state.copy ? isoOrNull(state.copy->complete_at) : nullptr},
                   {"log_through", state.offsite ? isoOrNull(state.offsite->durable_through) : nullptr},
                   {"problem", problem.empty() ? json::value(nullptr) : json::value(problem)}};
  return fails;
}

bool showObjectives(Context& context, const drill::RecoveryState& state, json::object& document) {
  const auto& out = context.out();
  const auto lag = [](const char* place, std::optional<double> seconds) {
    return seconds ? fmt::format("{:.1f} s {}", *seconds, place) : std::string();
  };
  std::vector<std::string> lags;
  for (const auto& text : {lag("here", state.lagSeconds()), lag("elsewhere", state.offsiteLagSeconds())}) {
    if (!text.empty()) lags.push_back(text);
  }
  if (!lags.empty()) out.marked(Mark::Ok, "Commits would be lost of the last: " + join(lags, ", "));
  const auto objective = static_cast<double>(context.config().integer(key::kRtoMinutes) * 60);
  const bool misses = state.predicted_rto_seconds && *state.predicted_rto_seconds > objective;
  if (state.predicted_rto_seconds)
    out.marked(misses ? Mark::Failure : Mark::Ok,
               fmt::format("A recovery would take about {:.0f} s, by the last drill (objective {:.0f} s)",
                           *state.predicted_rto_seconds, objective));
  if (state.drill)
    out.marked(state.drill->passed ? Mark::Ok : Mark::Failure,
               fmt::format("Last drill: {} ({} ago, {})", state.drill->id, humanDuration(ageOf(state.drill->at)),
                           !state.drill->authentic ? "its signature does not hold"
                           : state.drill->passed   ? "passed"
                                                   : "not passed"));
  else
    out.marked(Mark::Warning, "Last drill: none\n    → aragora drill");
  document["durable_lag_seconds"] = orNull(state.lagSeconds());
  document["offsite_lag_seconds"] = orNull(state.offsiteLagSeconds());
  document["predicted_rto_seconds"] = orNull(state.predicted_rto_seconds);
  document["last_drill"] = state.drill ? json::value(json::object{{"id", state.drill->id},
                                                                  {"at", toIso(state.drill->at)},
                                                                  {"passed", state.drill->passed},
                                                                  {"rto_seconds", orNull(state.drill->rto_seconds)},
                                                                  {"rpo_seconds", orNull(state.drill->rpo_seconds)}})
                                       : json::value(nullptr);
  return misses || (state.drill && !state.drill->passed);
}
}  // namespace

json::object describe(const backup::Entry& entry) {
  json::object object{
      {"id", entry.id}, {"path", entry.directory.describe()}, {"good", entry.good()}, {"proven", entry.proven()}};
  if (!entry.problem.empty()) object["problem"] = entry.problem;
  if (entry.pinned) object["pinned"] = *entry.pinned;
  if (entry.manifest) {
    object["kind"] = entry.manifest->kind;
    object["engine"] = entry.manifest->engine;
    object["finished_at"] = toIso(entry.manifest->finished_at);
    object["bytes"] = entry.manifest->storedSize();
    object["migration_version"] = entry.manifest->migration_version;
    object["key_id"] = entry.manifest->key_id;
  }
  if (!entry.verifications.empty()) {
    const auto& last = entry.verifications.back();
    object["last_verification"] =
        json::object{{"level", last.level}, {"ok", last.ok}, {"at", toIso(last.at)}, {"message", last.message}};
  }
  return object;
}

std::pair<backup::Repository, backup::Entry> findAnyKind(const storage::Place& place, const std::string& input) {
  for (const auto& kind : backup::kKinds) {
    if (input == "latest-" + kind ||
        (input != "latest" && input.find('/') == std::string::npos && !(place / kind / input).list().empty())) {
      backup::Repository repository(place, kind);
      auto entry = repository.resolve(input);
      return {std::move(repository), std::move(entry)};
    }
  }
  backup::Repository repository(place);
  auto entry = repository.resolve(input);
  return {std::move(repository), std::move(entry)};
}

int list(Context& context, const Options& options) {
  const auto& out = context.out();
  const auto place = context.backups(options.output, options.from);
  json::array array;
  std::vector<backup::Entry> entries;
  for (const auto& kind : backup::kKinds) {
    for (auto& entry : backup::Repository(place, kind).list()) entries.push_back(std::move(entry));
  }
  for (const auto& entry : entries) {
    array.push_back(describe(entry));
    if (!entry.manifest || !entry.problem.empty()) {
      out.marked(Mark::Failure, fmt::format("{}  {}", entry.id, entry.problem));
      continue;
    }
    const auto state = entry.proven()                ? "proven by restore"
                       : entry.verifications.empty() ? "not verified"
                       : entry.verifications.back().ok
                           ? fmt::format("verified to level {}", entry.verifications.back().level)
                           : "FAILED verification";
    out.marked(entry.good() ? Mark::Ok : Mark::Failure,
               fmt::format("{}  {:>9}  {}  {}  {}{}", entry.id, humanBytes(entry.manifest->storedSize()),
                           entry.manifest->kind, entry.manifest->engine, state,
                           entry.pinned ? fmt::format("  pinned: {}", printable(*entry.pinned, 60)) : ""));
  }
  if (entries.empty()) out.line(fmt::format("No backups in {}", place.describe()));
  out.document({{"directory", place.describe()}, {"backups", array}});
  return 0;
}

int status(Context& context, const Options& options) {
  const auto directory = context.backupDirectory(options.output);
  const auto state = drill::recoveryState(directory, backup::policyOf(context.config()), context.backupKeyring());
  const auto& full = state.kind("full");
  json::object document{{"directory", directory.string()},
                        {"count", full.count},
                        {"not_good", full.bad},
                        {"newest_good", full.newest ? json::value(describe(*full.newest)) : nullptr},
                        {"newest_proven", full.proven ? json::value(describe(*full.proven)) : nullptr},
                        {"late", full.late}};
  bool wrong = showKinds(context.out(), state, document);
  wrong |= showLog(context.out(), state, document);
  wrong |= showOffsite(context, state, document);
  wrong |= showObjectives(context, state, document);
  context.out().document(document);
  return wrong ? info(Code::CheckFailed).exit_status : 0;
}

namespace {
// Throws Error(Damaged) for what does not hold; answers what was found.
backup::VerifyReport verifyOne(Context& context, const Options& options, const backup::Repository& repository,
                               const backup::Entry& entry) {
  backup::VerifyOptions how{static_cast<int>(options.level.value_or(2)), &context.backupKeyring(), std::nullopt, {}};
  if (context.config().usesPostgres()) how.postgres = context.target();
  // What is found is kept beside the backup, when the backup is one of the local repository's own.
  std::error_code ignored;
  const bool own = repository.directory().isLocal() && entry.directory.isLocal() && !options.from &&
                   fs::equivalent(entry.directory.parent().parent().path(), repository.directory().path(), ignored);
  const auto record = [&](int reached, bool good, const std::string& message) {
    if (own) repository.recordVerification(entry.id, {reached, good, nowMicros(), message});
  };
  try {
    auto report = backup::verifyBackup(entry, how);
    record(report.level, true, report.message);
    return report;
  } catch (const Error& error) {
    if (error.code() == Code::Damaged) record(how.level, false, error.what());
    throw;
  }
}

json::object show(const Output& out, const backup::VerifyReport& report) {
  out.marked(Mark::Ok, fmt::format("{}: {} ({:.1f} s)", report.id, report.message, report.seconds));
  if (!report.log_problem.empty())
    out.marked(Mark::Failure, report.log_problem + "\n    → aragora backup create --kind base");
  return {{"id", report.id},
          {"verified", true},
          {"level", report.level},
          {"message", report.message},
          {"log_problem", report.log_problem.empty() ? json::value(nullptr) : json::value(report.log_problem)},
          {"seconds", report.seconds}};
}

// Every kind, also when one does not hold; the worst decides.
int verifyEveryKind(Context& context, const Options& options, const storage::Place& place) {
  json::array found;
  bool damaged = false;
  for (const auto& kind : backup::kKinds) {
    const backup::Repository repository(place, kind);
    const auto entries = repository.list();
    if (entries.empty()) continue;
    try {
      const auto report = verifyOne(context, options, repository, entries.back());
      damaged |= !report.log_problem.empty();
      found.push_back(show(context.out(), report));
    } catch (const Error& error) {
      if (error.code() != Code::Damaged) throw;
      damaged = true;
      context.out().marked(Mark::Failure, error.what());
      found.push_back(
          json::object{{"id", entries.back().id}, {"verified", false}, {"message", std::string(error.what())}});
    }
  }
  if (found.empty())
    throw Error(Code::NoInput, fmt::format("there is no backup in {}", place.describe()),
                "make one with: aragora backup");
  context.out().document({{"backups", found}});
  return damaged ? info(Code::Damaged).exit_status : 0;
}
}  // namespace

int verify(Context& context, const Options& options) {
  const auto level = options.level.value_or(2);
  if (level < 0 || level > 2) throw Error(Code::Usage, "--level takes 0, 1 or 2");
  if (options.every_kind && options.input)
    throw Error(Code::Usage, "--every-kind and --input exclude each other", "leave one out");
  const auto place = context.backups(options.output, options.from);
  if (options.every_kind) return verifyEveryKind(context, options, place);
  const auto [repository, entry] = findAnyKind(place, options.input.value_or("latest"));
  const auto report = verifyOne(context, options, repository, entry);
  context.out().document(show(context.out(), report));
  return report.log_problem.empty() ? 0 : info(Code::Damaged).exit_status;
}

}  // namespace aragora::cli::backups
