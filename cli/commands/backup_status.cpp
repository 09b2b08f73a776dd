// `backup status`: what common/drill says of the state of recovery, and the facts behind it as JSON.
#include "cli/commands/backup.h"
#include "common/base/text.h"
#include "common/drill/recovery_findings.h"

namespace aragora::cli::backups {

namespace {
namespace key = config::key;
using backup::formatLsn;

json::value isoOrNull(std::optional<Micros> at) { return at && *at > 0 ? json::value(toIso(*at)) : nullptr; }
json::value orNull(std::optional<double> number) { return number ? json::value(*number) : nullptr; }
json::value orNull(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }
json::value orNull(const std::optional<backup::Entry>& entry) {
  return entry ? json::value(describe(*entry)) : nullptr;
}

template <typename Range>
json::array texts(const Range& range) {
  json::array array;
  for (const auto& text : range) array.push_back(json::string(text));
  return array;
}

std::string_view name(drill::Level level) {
  switch (level) {
    case drill::Level::Ok:
      return "ok";
    case drill::Level::Unset:
      return "unset";
    case drill::Level::Warning:
      return "warning";
    case drill::Level::Failure:
      return "failure";
  }
  return {};
}

Mark markOf(drill::Level level) {
  if (level == drill::Level::Ok) return Mark::Ok;
  return level == drill::Level::Failure ? Mark::Failure : Mark::Warning;
}

// True when one is a failure.
bool show(const Output& out, const std::vector<drill::Statement>& statements, json::object& document) {
  bool wrong = false;
  json::array array;
  for (const auto& statement : statements) {
    wrong |= statement.level == drill::Level::Failure;
    out.marked(markOf(statement.level),
               statement.text + (statement.hint.empty() ? std::string() : "\n    → " + statement.hint));
    array.push_back(json::object{{"subject", drill::name(statement.subject)},
                                 {"level", name(statement.level)},
                                 {"message", statement.text},
                                 {"hint", orNull(statement.hint)}});
  }
  document["statements"] = std::move(array);
  return wrong;
}

json::array describeKinds(const drill::RecoveryState& state) {
  json::array kinds;
  for (const auto& kind : state.kinds) {
    std::vector<std::string> shrunk;
    for (const auto& table : kind.shrunk) shrunk.push_back(backup::describe(table));
    kinds.push_back(json::object{{"kind", backup::name(kind.rule.kind)},
                                 {"less_than_before", texts(shrunk)},
                                 {"count", kind.count},
                                 {"not_good", kind.bad.size()},
                                 {"in_the_future", kind.future.size()},
                                 {"newest_good", orNull(kind.newest)},
                                 {"newest_proven", orNull(kind.proven)},
                                 {"proof", kind.proof ? json::value(json::object{{"backup", kind.proof->backup},
                                                                                 {"at", toIso(kind.proof->at)},
                                                                                 {"how", kind.proof->how}})
                                                      : json::value(nullptr)},
                                 {"keep_days", kind.rule.keep_days},
                                 {"next_due", kind.rule.every.count() > 0 ? isoOrNull(kind.next_due) : nullptr},
                                 {"late", kind.late && state.matters(kind)}});
  }
  return kinds;
}

json::array describeKeys(const drill::RecoveryState& state) {
  json::array keys;
  for (const auto& key : state.keys)
    keys.push_back(json::object{{"kind", key.what},
                                {"newest", key.newest},
                                {"tried", key.tried},
                                {"opens", state.opens && key.problems.empty()},
                                {"problems", texts(key.problems)}});
  return keys;
}

json::value describeWindow(const drill::RecoveryState& state) {
  if (!state.window) return nullptr;
  const auto& window = *state.window;
  json::array holes;
  for (const auto& [what, healed] : state.breaks)
    holes.push_back(json::object{{"timeline", what.timeline},
                                 {"after", formatLsn(what.after)},
                                 {"log_is_there", !what.replayable},
                                 {"why", what.why},
                                 {"healed", healed}});
  json::array timelines;
  for (const auto& branch : window.branches)
    timelines.push_back(
        json::object{{"timeline", branch.timeline},
                     {"parent", branch.parent > 0 ? json::value(branch.parent) : nullptr},
                     {"left_parent_at", branch.parent > 0 ? json::value(formatLsn(branch.left_parent_at)) : nullptr},
                     {"end", formatLsn(branch.end)},
                     {"through", isoOrNull(branch.through)},
                     {"base", orNull(branch.base)}});
  return json::object{{"base", window.base},
                      {"from", toIso(window.from)},
                      {"through", isoOrNull(window.through)},
                      {"timeline", window.timeline},
                      {"end", formatLsn(window.end)},
                      {"promised", window.promised ? json::value(formatLsn(*window.promised)) : nullptr},
                      {"missing", orNull(window.missing)},
                      {"gap", window.gap},
                      {"holes", std::move(holes)},
                      {"timelines", std::move(timelines)},
                      {"log_is_received", state.hasLog()},
                      {"confirmed", state.log ? json::value(formatLsn(state.log->flushed)) : nullptr},
                      {"receiver_updated_at", state.log ? json::value(toIso(state.log->updated_at)) : nullptr},
                      {"receiver_problem", state.log ? orNull(state.log->problem) : nullptr}};
}

json::value describeIncrements(const drill::IncrementState& increments) {
  if (!increments.saving && !increments.newest) return nullptr;
  const auto saving = increments.saving.value_or(backup::SavingStatus{});
  return json::object{{"newest", isoOrNull(increments.newest)}, {"saved_through", isoOrNull(increments.saved_through)},
                      {"changed_since", increments.changed},    {"somebody_saves", saving.alive},
                      {"failures_in_a_row", saving.failures},   {"problem", orNull(saving.problem)}};
}

json::value describeServer(const std::optional<drill::ServerSide>& server) {
  if (!server) return nullptr;
  return json::object{{"problem", orNull(server->failure)},
                      {"slot", server->has_slot},
                      {"slot_state", orNull(backup::name(server->slot_state))},
                      {"confirmed", server->kept_from > 0 ? json::value(formatLsn(server->kept_from)) : nullptr},
                      {"end", server->end > 0 ? json::value(formatLsn(server->end)) : nullptr},
                      {"wal_level", orNull(server->wal_level)}};
}

// What the statements above are silent about.
json::array describeNotAsked(const drill::RecoveryState& state) {
  json::array array;
  const auto add = [&](const char* what, const std::string& why) {
    if (!why.empty()) array.push_back(json::object{{"what", what}, {"why", why}});
  };
  add("the newest backups that the database was told of", state.told_failure);
  if (state.server) add("the server's end of the log, its slot and wal_level", state.server->failure);
  if (state.elsewhere) add("the copies elsewhere", state.elsewhere->failure);
  return array;
}

json::value describeOffsite(const drill::Objectives& objectives, const drill::RecoveryState& state) {
  if (objectives.offsite.empty()) return nullptr;
  const auto problem = !state.copy                    ? std::string("nothing was copied yet")
                       : !state.copy->problem.empty() ? state.copy->problem
                       : state.offsite                ? state.offsite->problem
                                                      : std::string();
  return json::object{{"place", objectives.offsite},
                      {"complete_at", state.copy ? isoOrNull(state.copy->complete_at) : nullptr},
                      {"log_through", state.offsite ? isoOrNull(state.offsite->durable_through) : nullptr},
                      {"problem", orNull(problem)}};
}

json::array describeTime(const drill::RecoveryState& state) {
  json::array predictions;
  for (const auto& prediction : state.predictions)
    predictions.push_back(json::object{{"place", drill::name(prediction.place)},
                                       {"kind", drill::name(prediction.way)},
                                       {"seconds", prediction.seconds},
                                       {"measured", prediction.measured},
                                       {"backup_bytes", prediction.amount.backup},
                                       {"log_bytes", prediction.amount.log}});
  return predictions;
}

json::value describeDrill(const std::optional<drill::LastDrill>& drill) {
  if (!drill) return nullptr;
  return json::object{{"id", drill->id},
                      {"at", toIso(drill->at)},
                      {"passed", drill->passed},
                      {"rto_seconds", orNull(drill->rto_seconds)},
                      {"rpo_seconds", orNull(drill->rpo_seconds)}};
}
}  // namespace

int status(Context& context, const Options& options) {
  const auto objectives = drill::objectivesOf(context.config());
  const auto state = drill::recoveryState({context.backupDirectory(options.output),
                                           objectives,
                                           &context.backupKeyring(),
                                           context.target(),
                                           true,
                                           true,
                                           {}});
  const auto& full = state.kind(backup::Kind::Full);
  const auto* local = state.prediction(drill::Where::Local);
  json::object document{{"directory", state.directory.string()},
                        {"count", full.count},
                        {"not_good", full.bad.size()},
                        {"newest_good", orNull(full.newest)},
                        {"newest_proven", orNull(full.proven)},
                        {"late", full.late},
                        {"kinds", describeKinds(state)},
                        {"keys", describeKeys(state)},
                        {"recovery_window", describeWindow(state)},
                        {"increments", describeIncrements(state.increments)},
                        {"server", describeServer(state.server)},
                        {"not_asked", describeNotAsked(state)},
                        {"offsite", describeOffsite(objectives, state)},
                        {"durable_lag_seconds", orNull(state.lossHere())},
                        {"offsite_lag_seconds", orNull(state.lossElsewhere())},
                        {"predicted_rto_seconds", local != nullptr ? json::value(local->seconds) : nullptr},
                        {"predictions", describeTime(state)},
                        {"last_drill", describeDrill(state.drill)},
                        {"free_bytes", state.free_bytes}};
  const bool wrong = show(context.out(), drill::judge(state, objectives), document);
  context.out().document(document);
  return wrong ? info(Code::CheckFailed).exit_status : 0;
}

}  // namespace aragora::cli::backups
