// What the daemon says of itself: its metrics, the status line of systemd, the instance as the others see it, the
// settings in effect. Everything here is read from the parts when it is asked for; any thread.
#pragma once

#include "common/config/config.h"
#include "common/metrics/metrics.h"
#include "daemon/cluster/sisters.h"
#include "daemon/debate/engine.h"
#include "daemon/edge/listener.h"
#include "daemon/lifecycle/audit_watch.h"
#include "daemon/lifecycle/prober.h"
#include "daemon/lifecycle/process_metrics.h"
#include "daemon/lifecycle/recovery_metrics.h"
#include "daemon/providers/provider.h"
#include "daemon/web/refusal_log.h"
#include "daemon/ws/hub.h"

namespace aragora::daemon {

// They outlive the report.
struct Subjects {
  std::string instance;
  database::Database& database;
  edge::Listener& listener;
  edge::WorkerPool& workers;
  ws::Hub& hub;
  debate::Engine& engine;
  const cluster::Sisters& sisters;
  const lifecycle::Prober& prober;
  const lifecycle::AuditWatch& audit_watch;
  lifecycle::RecoveryMetrics& recovery;
  const web::RefusalLog& refusals;
  const std::atomic<bool>& memory_scarce;
  const std::atomic<Micros>& certificate_ends;  // 0: no TLS here
  lifecycle::HostView host;
  const providers::Providers& providers;
};

class SelfReport {
 public:
  explicit SelfReport(Subjects subjects) : of_(std::move(subjects)) {}

  // What never changes now, the rest whenever somebody collects.
  void feed(metrics::Registry& registry) const;
  std::string statusLine() const;
  // JSON text, for the other instances.
  std::string aboutMe() const;
  json::array livingInstances() const;  // this one among them
  // "http://127.0.0.1:8080, unix:/run/aragora/aragora.sock"
  std::string listensOn() const;

 private:
  void collect(metrics::Registry& registry) const;
  void collectBackends(metrics::Registry& registry) const;
  void collectProviders(metrics::Registry& registry) const;
  Subjects of_;
  Micros started_at_ = nowMicros();
};

// {"config_hash", "settings"}. What a reload does not apply is as it was at the start.
json::object settingsInEffect(const config::Config& at_start, const config::Config& now);
// Whether the setting has another value in the one than in the other.
bool differs(std::string_view key, const config::Config& one, const config::Config& other);
// Of what differs, what a reload applies; by name.
std::vector<std::string> appliedAtOnce(const config::Config& before, const config::Config& now);
// Of what differs, what a reload does not apply; secrets by name only.
std::vector<std::string> needingARestart(const config::Config& at_start, const config::Config& now);

}  // namespace aragora::daemon
