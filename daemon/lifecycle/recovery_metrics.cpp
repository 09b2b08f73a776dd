#include "daemon/lifecycle/recovery_metrics.h"

#include "common/base/log.h"
#include "common/drill/recovery_findings.h"

namespace aragora::lifecycle {

namespace {
constexpr auto kEvery = std::chrono::seconds(15);
constexpr auto kElsewhereEvery = std::chrono::minutes(10);

double seconds(Micros at) { return static_cast<double>(at) / 1e6; }

// A series that is not there says "never", which the alert rules understand; a zero would say "in 1970".
void expose(metrics::Registry& registry, const drill::RecoveryState& state) {
  for (const auto& kind : state.kinds) {
    const metrics::Labels labels{{"kind", name(kind.rule.kind)}};
    registry.gauge("aragora_backups", static_cast<double>(kind.count), labels);
    registry.gauge("aragora_backup_not_good", static_cast<double>(kind.bad.size()), labels);
    registry.gauge("aragora_backup_dated_in_the_future", static_cast<double>(kind.future.size()), labels);
    if (kind.newest) {
      registry.gauge("aragora_backup_last_success_timestamp_seconds", seconds(kind.newest->manifest->finished_at),
                     labels);
      registry.gauge("aragora_backup_bytes", static_cast<double>(kind.newest->manifest->storedSize()), labels);
    }
    if (kind.proof) registry.gauge("aragora_backup_last_proven_timestamp_seconds", seconds(kind.proof->at), labels);
  }
  if (state.increments.newest)
    registry.gauge("aragora_backup_last_increment_timestamp_seconds", seconds(*state.increments.newest));
  if (state.increments.saving)
    registry.gauge("aragora_backup_saving_failures", static_cast<double>(state.increments.saving->failures));
  if (state.copy && state.copy->complete_at > 0)
    registry.gauge("aragora_backup_offsite_last_success_timestamp_seconds", seconds(state.copy->complete_at));
  if (const auto loss = state.lossHere()) registry.gauge("aragora_recovery_loss_seconds", *loss, {{"place", "local"}});
  if (const auto loss = state.lossElsewhere())
    registry.gauge("aragora_recovery_loss_seconds", *loss, {{"place", "offsite"}});
  if (state.log) {
    registry.gauge("aragora_wal_slot_retained_bytes", static_cast<double>(state.log->retained_bytes));
    registry.gauge("aragora_wal_receiver_timestamp_seconds", seconds(state.log->updated_at));
  }
  if (state.window) {
    registry.gauge("aragora_recovery_window_gap", state.window->gap ? 1 : 0);
    if (state.window->through)
      registry.gauge("aragora_recovery_window_seconds", seconds(*state.window->through - state.window->from));
  }
  if (state.drill) {
    registry.gauge("aragora_recovery_drill_timestamp_seconds", seconds(state.drill->at));
    registry.gauge("aragora_recovery_drill_passed", state.drill->passed ? 1 : 0);
  }
  for (const auto& prediction : state.predictions)
    registry.gauge(
        "aragora_recovery_predicted_rto_seconds", prediction.seconds,
        {{"place", std::string(drill::name(prediction.place))}, {"measured", prediction.measured ? "yes" : "no"}});
  registry.gauge("aragora_backup_repository_free_bytes", static_cast<double>(state.free_bytes));
}

// The same as `backup status` says, by subject: what is a failure there is one here.
void expose(metrics::Registry& registry, const std::vector<drill::Statement>& statements) {
  for (const auto subject : drill::allSubjects()) {
    const auto failures = std::count_if(statements.begin(), statements.end(), [&](const drill::Statement& statement) {
      return statement.subject == subject && statement.level == drill::Level::Failure;
    });
    registry.gauge("aragora_recovery_problems", static_cast<double>(failures),
                   {{"subject", std::string(drill::name(subject))}});
  }
}
}  // namespace

void RecoveryMetrics::collect(metrics::Registry& registry) {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (looked_at_ != std::chrono::steady_clock::time_point{} && now - looked_at_ < kEvery) return;
  looked_at_ = now;
  for (const auto* prefix : {"aragora_backup", "aragora_wal_", "aragora_recovery_"}) registry.forgetGauges(prefix);
  const auto& objectives = options_.objectives;
  registry.gauge("aragora_recovery_rto_objective_seconds", static_cast<double>(objectives.rto.count()));
  registry.gauge("aragora_recovery_rpo_objective_seconds", static_cast<double>(objectives.rpo.count()));
  try {
    if (now - asked_at_ >= kElsewhereEvery) options_.elsewhere.reset();
    if (!options_.elsewhere) asked_at_ = now;
    const auto state = drill::recoveryState(options_);
    options_.elsewhere = state.elsewhere;
    expose(registry, state);
    expose(registry, drill::judge(state, objectives));
  } catch (const std::exception& error) {
    registry.count("aragora_recovery_state_failures_total");
    log::warning("the state of recovery cannot be read: {}", error.what());
  }
}

}  // namespace aragora::lifecycle
