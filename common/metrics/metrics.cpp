#include "common/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <shared_mutex>
#include <tuple>

#include "common/base/text.h"

namespace aragora::metrics {

namespace {
struct Description {
  const char* name;
  const char* help;
};
// What each series means; a series without an entry is a bug that the metrics test finds.
constexpr Description kHelp[] = {
    {"aragora_http_requests_total", "Requests answered, by method, route and status."},
    {"aragora_http_request_duration_seconds", "Time from the parsed head to the finished answer."},
    {"aragora_http_connections", "Open client connections."},
    {"aragora_http_connections_most", "Client connections that are taken at most."},
    {"aragora_password_hashes_total", "Argon2 hashes computed, to check a password or to keep one."},
    {"aragora_http_shed_total",
     "What was given up where there was no room: connections, idle connections, requests for memory or in the queue."},
    {"aragora_websocket_connections", "Open WebSocket connections."},
    {"aragora_websocket_messages_total", "WebSocket messages, by direction."},
    {"aragora_websocket_slow_clients_total", "WebSocket clients that were dropped because they did not read."},
    {"aragora_active_debates", "Debates running on this instance."},
    {"aragora_debates_started_total", "Debates started on this instance."},
    {"aragora_debates_total", "Debates that ended, by status and outcome."},
    {"aragora_debate_duration_seconds", "Time from start to end of a debate."},
    {"aragora_consensus_reached_total", "Debates that ended with consensus."},
    {"aragora_agent_calls_total", "Provider calls, by agent and status."},
    {"aragora_agent_latency_seconds", "Duration of provider calls."},
    {"aragora_rate_limit_hits_total", "Requests refused by the rate limit."},
    {"aragora_ratelimit_fallback_active", "1 while this instance counts limits for itself: Redis is away or slow."},
    {"aragora_instances", "Instances on this database that say in Redis that they live."},
    {"aragora_db_pool_size", "Configured database connections."},
    {"aragora_db_pool_available", "Database connections that are free or may be opened."},
    {"aragora_audit_log_broken", "1 when the audit log lacks what was written down about it elsewhere."},
    {"aragora_db_errors_total", "Reads and writes that the database failed, by whomever; its own state is readiness."},
    {"aragora_backup_failures_total", "Backups and increments that the daemon could not make."},
    {"aragora_backup_count", "Backups here, by kind."},
    {"aragora_backup_not_good", "Backups here that are damaged or failed verification, by kind."},
    {"aragora_backup_last_success_timestamp_seconds", "When the newest good backup was finished; absent: never."},
    {"aragora_backup_last_proven_timestamp_seconds", "When a backup was last proved by a restore; absent: never."},
    {"aragora_backup_last_increment_timestamp_seconds", "When the newest increment was made; absent: never."},
    {"aragora_backup_offsite_last_success_timestamp_seconds", "When the copy elsewhere was last complete."},
    {"aragora_backup_bytes", "Stored size of the newest good backup, by kind."},
    {"aragora_backup_repository_free_bytes", "Free space where backups are kept."},
    {"aragora_backup_saving_failures", "Rounds of continuous saving in a row that failed."},
    {"aragora_backup_dated_in_the_future", "Backups here dated ahead of the clock, by kind."},
    {"aragora_wal_slot_retained_bytes", "Log that the server keeps for the receiver."},
    {"aragora_wal_receiver_timestamp_seconds", "When the receiver of the log last said something."},
    {"aragora_recovery_loss_seconds", "Age of the oldest commit that is not yet safe at the place."},
    {"aragora_recovery_problems", "What backup status calls a failure, by subject."},
    {"aragora_recovery_window_seconds", "How far recovery to a moment reaches back."},
    {"aragora_recovery_window_gap", "1 when the log after the oldest base backup has a gap."},
    {"aragora_recovery_drill_timestamp_seconds", "When the last recovery drill was held; absent: never."},
    {"aragora_recovery_drill_passed", "1 when the last recovery drill passed."},
    {"aragora_recovery_predicted_rto_seconds",
     "How long a recovery from the place would take; measured by a drill or not."},
    {"aragora_recovery_rto_objective_seconds", "Objective: time to recover."},
    {"aragora_recovery_rpo_objective_seconds", "Objective: how much may be lost."},
    {"aragora_recovery_state_failures_total", "Times that the state of recovery could not be read."},
    {"aragora_worker_queue_length", "Requests waiting for a worker."},
    {"aragora_metrics_dropped_total", "What was not recorded because its family has too many series; a bug of ours."},
    {"aragora_build_info", "Always 1; version and commit as labels."},
    {"process_resident_memory_bytes", "Resident memory."},
    {"process_cpu_seconds_total", "User and system CPU time."},
    {"process_open_fds", "Open file descriptors."},
    {"process_start_time_seconds", "Start of the process since the epoch."},
};

std::string helpOf(const std::string& name) {
  for (const auto& entry : kHelp) {
    if (name == entry.name) return entry.help;
  }
  return "Undocumented.";
}

const prometheus::Histogram::BucketBoundaries kBuckets = {.005, .01, .025, .05, .1, .2, .25, .5,  1,
                                                          2,    2.5, 5,    10,  30, 60, 120, 300, 600};
constexpr const char* kDropped = "aragora_metrics_dropped_total";
}  // namespace

struct Registry::Impl {
  template <typename Metric>
  struct Family {
    prometheus::Family<Metric>* kept = nullptr;
    std::map<Labels, Metric*> series;
  };

  prometheus::Registry registry;
  std::vector<std::function<void(Registry&)>> collectors;
  std::mutex mutex;
  std::map<std::string, Family<prometheus::Counter>> counters;
  std::map<std::string, Family<prometheus::Gauge>> gauges;
  std::map<std::string, Family<prometheus::Histogram>> histograms;

  struct RequestSeries {
    prometheus::Counter* count;
    prometheus::Histogram* seconds;
  };
  std::shared_mutex requests_mutex;
  // Looked up by views, so that a request that was seen before allocates nothing.
  using RequestKey = std::tuple<std::string, std::string, int>;
  using RequestView = std::tuple<std::string_view, std::string_view, int>;
  struct ByView {
    using is_transparent = void;
    static RequestView view(const RequestKey& key) { return {std::get<0>(key), std::get<1>(key), std::get<2>(key)}; }
    static const RequestView& view(const RequestView& key) { return key; }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return view(a) < view(b);
    }
  };
  std::map<RequestKey, RequestSeries, ByView> requests;

  // With the lock held. Null when the family is full.
  template <typename Metric, typename Builder, typename... Buckets>
  Metric* series(std::map<std::string, Family<Metric>>& families, Builder builder, const std::string& name,
                 const Labels& labels, const Buckets&... buckets) {
    auto& family = families[name];
    if (family.kept == nullptr) family.kept = &builder.Name(name).Help(helpOf(name)).Register(registry);
    if (const auto found = family.series.find(labels); found != family.series.end()) return found->second;
    if (family.series.size() >= kMostSeries) {
      counter(kDropped, {{"family", name}})->Increment();
      return nullptr;
    }
    return family.series[labels] = &family.kept->Add(labels, buckets...);
  }
  prometheus::Counter* counter(const std::string& name, const Labels& labels) {
    return series(counters, prometheus::BuildCounter(), name, labels);
  }
  prometheus::Histogram* histogram(const std::string& name, const Labels& labels) {
    return series(histograms, prometheus::BuildHistogram(), name, labels, kBuckets);
  }
};

Registry::Registry() : impl_(std::make_unique<Impl>()) {}
Registry::~Registry() = default;

void Registry::count(const std::string& name, const Labels& labels, double by) {
  const std::lock_guard lock(impl_->mutex);
  if (auto* const counter = impl_->counter(name, labels)) counter->Increment(by);
}

void Registry::gauge(const std::string& name, double value, const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  if (auto* const gauge = impl_->series(impl_->gauges, prometheus::BuildGauge(), name, labels)) gauge->Set(value);
}

void Registry::forgetGauges(std::string_view prefix) {
  const std::lock_guard lock(impl_->mutex);
  for (auto& [name, family] : impl_->gauges) {
    if (!startsWith(name, prefix)) continue;
    for (const auto& [labels, gauge] : family.series) family.kept->Remove(gauge);
    family.series.clear();
  }
}

void Registry::observe(const std::string& name, double seconds, const Labels& labels) {
  const std::lock_guard lock(impl_->mutex);
  if (auto* const histogram = impl_->histogram(name, labels)) histogram->Observe(seconds);
}

void Registry::request(std::string_view route, std::string_view method, int status, double seconds) {
  const Impl::RequestView key(route, method, status);
  {
    const std::shared_lock lock(impl_->requests_mutex);
    if (const auto found = impl_->requests.find(key); found != impl_->requests.end()) {
      found->second.count->Increment();
      found->second.seconds->Observe(seconds);
      return;
    }
  }
  const std::string pattern(route);
  const Labels labels{{"method", std::string(method)},
                      {"endpoint", pattern},
                      {"handler", pattern},
                      {"status", fmt::format("{}", status)}};
  Impl::RequestSeries series{};
  {
    const std::lock_guard lock(impl_->mutex);
    series.count = impl_->counter("aragora_http_requests_total", labels);
    series.seconds = impl_->histogram("aragora_http_request_duration_seconds", labels);
  }
  if (series.count == nullptr || series.seconds == nullptr) return;
  series.count->Increment();
  series.seconds->Observe(seconds);
  const std::unique_lock lock(impl_->requests_mutex);
  impl_->requests[std::make_tuple(pattern, std::string(method), status)] = series;
}

void Registry::onCollect(std::function<void(Registry&)> collector) {
  impl_->collectors.push_back(std::move(collector));
}

std::string Registry::expose() {
  for (const auto& collector : impl_->collectors) collector(*this);
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace aragora::metrics
