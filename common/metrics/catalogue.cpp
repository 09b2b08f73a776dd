#include "common/metrics/catalogue.h"

#include <fmt/format.h>

#include "common/base/names.h"

namespace aragora::metrics {

namespace {
constexpr Names<Kind, 3> kKinds{{{Kind::Counter, "counter"}, {Kind::Gauge, "gauge"}, {Kind::Histogram, "histogram"}}};
constexpr auto C = Kind::Counter;
constexpr auto G = Kind::Gauge;
constexpr auto H = Kind::Histogram;
}  // namespace

std::string_view name(Kind kind) { return nameIn(kKinds, kind); }

const std::vector<double>& bounds(Buckets buckets) {
  static const std::vector<double> none;
  static const std::vector<double> requests{.005, .01, .025, .05, .1, .2, .25, .3, .5, 1, 2, 2.5, 3, 5, 10};
  static const std::vector<double> delivery{.001, .005, .01, .025, .05, .1, .25, .5, 1, 5};
  static const std::vector<double> calls{.1, .25, .5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120};
  static const std::vector<double> debates{.1, .5, 1, 5, 10, 30, 60, 120, 300, 600};
  static const std::vector<double> rounds{0, 1, 2, 3, 4, 5, 7, 10};
  switch (buckets) {
    case Buckets::None:
      return none;
    case Buckets::Requests:
      return requests;
    case Buckets::Delivery:
      return delivery;
    case Buckets::Calls:
      return calls;
    case Buckets::Debates:
      return debates;
    case Buckets::Rounds:
      return rounds;
  }
  return none;
}

const std::vector<Series>& catalogue() {
  static const std::vector<Series> all = {
      {"aragora_http_requests_total", C, "method, endpoint, handler, status",
       "Requests answered; handler is endpoint."},
      {"aragora_http_request_duration_seconds", H, "method, endpoint, handler, status",
       "Time from the parsed head to the finished answer.", Buckets::Requests},
      {"aragora_http_request_body_bytes_total", C, "", "Bytes of request bodies that were read."},
      {"aragora_http_response_body_bytes_total", C, "", "Bytes of response bodies."},
      {"aragora_http_connections", G, "", "Open client connections."},
      {"aragora_http_connections_most", G, "", "Client connections that are taken at most."},
      {"aragora_http_shed_total", C, "reason",
       "What was given up where there was no room: connections, idle connections, requests for memory or in the "
       "queue."},
      {"aragora_worker_threads", G, "", "Threads that answer requests."},
      {"aragora_worker_threads_busy", G, "", "Threads that answer a request at the moment."},
      {"aragora_worker_queue_length", G, "", "Requests waiting for a worker."},
      {"aragora_rate_limit_hits_total", C, "limit_type, endpoint", "Requests refused by a limit (429)."},
      {"aragora_ratelimit_fallback_active", G, "",
       "1 while this instance counts limits for itself: Redis is away or slow."},
      {"aragora_auth_failures_total", C, "", "Credentials that were presented and refused."},
      {"aragora_password_hashes_total", C, "", "Argon2 hashes computed, to check a password or to keep one."},
      {"aragora_websocket_connections", G, "", "Open WebSocket connections."},
      {"aragora_websocket_connections_total", C, "", "WebSocket connections that were opened."},
      {"aragora_websocket_messages_total", C, "direction, message_type",
       "WebSocket messages: in by type, out as event, control or delta."},
      {"aragora_websocket_errors_total", C, "", "WebSocket connections that ended by a failure of the connection."},
      {"aragora_websocket_slow_clients_total", C, "", "WebSocket clients that were dropped because they did not read."},
      {"aragora_websocket_deltas_lost_total", C, "",
       "Parts of answers that WebSocket clients were not told because they read too slowly; the messages came."},
      {"aragora_websocket_delta_seconds", H, "",
       "Time from a part of an answer to its handing over to the clients of an I/O thread.", Buckets::Delivery},
      {"aragora_websocket_delivery_seconds", H, "",
       "Time from an event's record to its handing over to the clients of an I/O thread.", Buckets::Delivery},
      {"aragora_active_debates", G, "", "Debates running on this instance."},
      {"aragora_active_debates_most", G, "", "Debates that run on this instance at most."},
      {"aragora_debates_started_total", C, "", "Debates started, or gone on with, on this instance."},
      {"aragora_debates_total", C, "status, outcome, consensus_type", "Debates that ended."},
      {"aragora_debates_completed_total", C, "outcome", "Debates that ended with a result."},
      {"aragora_debate_failures_total", C, "", "Debates that failed."},
      {"aragora_consensus_reached_total", C, "", "Debates that ended with consensus."},
      {"aragora_debate_duration_seconds", H, "outcome", "Time from start to end of a debate.", Buckets::Debates},
      {"aragora_debate_rounds", H, "", "Rounds that a debate took.", Buckets::Rounds},
      {"aragora_debate_flips_total", C, "cited",
       "Proposals that were changed in a debate: for a critique that was cited (true), or for none (false)."},
      {"aragora_spend_usd_total", C, "provider, model",
       "US dollars that providers charged, as they say or as their prices make it; models that are not known are "
       "other."},
      {"aragora_budget_calls_total", C, "provider, outcome",
       "Calls with a price: settled, charged_unknown (the reservation is kept), released (surely not billed)."},
      {"aragora_budget_refusals_total", C, "", "Calls that were not made because a budget was used up."},
      {"aragora_budget_thresholds_total", C, "scope, percent",
       "Times that 50, 75, 90 or 100 percent of a budget were reached."},
      {"aragora_budget_utilization_ratio", G, "scope",
       "Part of today's cap (UTC) that is charged or reserved: of all debates (day), and of the account with the "
       "highest part (account). Absent without a cap."},
      {"aragora_budget_cap_usd", G, "scope", "Caps in force: debate, account, day."},
      {"aragora_debate_tokens_total", C, "agent, direction", "Tokens, as the providers say."},
      {"aragora_agent_calls_total", C, "agent, status", "Provider calls; status is success or error."},
      {"aragora_agent_errors_total", C, "agent, error_type",
       "Provider calls that failed: timeout, unreachable, cancelled or other."},
      {"aragora_provider_calls", G, "provider, state",
       "Tries at a provider: open, or waiting for others to end (providers.calls_at_once)."},
      {"aragora_breaker_state", G, "provider", "Circuit of a provider: 0 closed, 1 half-open, 2 open."},
      {"aragora_breaker_state_seconds", G, "provider", "How long it has been in that state."},
      {"aragora_breaker_blocked", G, "provider", "1 while its key is not used: refused, or its account has no money."},
      {"aragora_breaker_transitions_total", C, "provider, from, to", "Changes of the state of a circuit."},
      {"aragora_breaker_rejected_total", C, "provider, reason",
       "Calls that were not made: open, probing, throttled, blocked or forced."},
      {"aragora_breaker_probes_total", C, "provider, outcome",
       "Probes of a half-open circuit: answered, failed, neither."},
      {"aragora_provider_failures_total", C, "provider, class", "Tries of a provider that failed, by their class."},
      {"aragora_provider_fallbacks_total", C, "from, to, reason, answered",
       "Calls for which another provider was asked, and whether it answered."},
      {"aragora_agent_latency_seconds", H, "agent", "Duration of provider calls.", Buckets::Calls},
      {"aragora_instances", G, "", "Instances on this database that say in Redis that they live."},
      {"aragora_ready", G, "", "1 while /api/ready answers 200."},
      {"aragora_db_connected", G, "", "1 while the database answers."},
      {"aragora_db_pool_size", G, "", "Configured database connections."},
      {"aragora_db_pool_available", G, "", "Database connections that are free or may be opened."},
      {"aragora_db_errors_total", C, "",
       "Reads and writes that the database failed, by whomever; its own state is aragora_db_connected."},
      {"aragora_redis_connected", G, "", "1 while Redis answers; absent where none is configured."},
      {"aragora_redis_connection_errors_total", C, "", "Connections to Redis that were lost, or could not be made."},
      {"aragora_redis_deltas_lost_total", C, "",
       "Parts of answers for clients of other instances that did not reach them: Redis was away, or more came than "
       "fits; the messages came."},
      {"aragora_audit_log_broken", G, "", "1 when the audit log lacks what was written down about it elsewhere."},
      {"aragora_tls_certificate_expiry_timestamp_seconds", G, "",
       "When the certificate that is served ends; absent where another speaks TLS in front."},
      {"aragora_backup_failures_total", C, "", "Backups and increments that the daemon could not make."},
      {"aragora_backups", G, "kind", "Backups here."},
      {"aragora_backup_not_good", G, "kind", "Backups here that are damaged or failed verification."},
      {"aragora_backup_last_success_timestamp_seconds", G, "kind",
       "When the newest good backup was finished; absent: never."},
      {"aragora_backup_last_proven_timestamp_seconds", G, "kind",
       "When a backup was last proved by a restore; absent: never."},
      {"aragora_backup_last_increment_timestamp_seconds", G, "", "When the newest increment was made; absent: never."},
      {"aragora_backup_offsite_last_success_timestamp_seconds", G, "", "When the copy elsewhere was last complete."},
      {"aragora_backup_bytes", G, "kind", "Stored size of the newest good backup."},
      {"aragora_backup_repository_free_bytes", G, "", "Free space where backups are kept."},
      {"aragora_backup_saving_failures", G, "", "Rounds of continuous saving in a row that failed."},
      {"aragora_backup_dated_in_the_future", G, "kind", "Backups here dated ahead of the clock."},
      {"aragora_wal_slot_retained_bytes", G, "", "Log that the server keeps for the receiver."},
      {"aragora_wal_receiver_timestamp_seconds", G, "", "When the receiver of the log last said something."},
      {"aragora_recovery_loss_seconds", G, "place", "Age of the oldest commit that is not yet safe at the place."},
      {"aragora_recovery_problems", G, "subject", "What backup status calls a failure."},
      {"aragora_recovery_window_seconds", G, "", "How far recovery to a moment reaches back."},
      {"aragora_recovery_window_gap", G, "", "1 when the log after the oldest base backup has a gap."},
      {"aragora_recovery_drill_timestamp_seconds", G, "", "When the last recovery drill was held; absent: never."},
      {"aragora_recovery_drill_passed", G, "", "1 when the last recovery drill passed."},
      {"aragora_recovery_predicted_rto_seconds", G, "place, measured",
       "How long a recovery from the place would take; measured by a drill or not."},
      {"aragora_recovery_rto_objective_seconds", G, "", "Objective: time to recover."},
      {"aragora_recovery_rpo_objective_seconds", G, "", "Objective: how much may be lost."},
      {"aragora_recovery_state_failures_total", C, "", "Times that the state of recovery could not be read."},
      {"aragora_process_disk_read_bytes_total", C, "", "Bytes that this process had the disks read."},
      {"aragora_process_disk_written_bytes_total", C, "", "Bytes that this process had the disks write."},
      {"aragora_memory_limit_bytes", G, "", "Most memory of the control group; absent where there is no limit."},
      {"aragora_memory_used_bytes", G, "", "Memory of the control group without what the kernel gives back by itself."},
      {"aragora_memory_scarce", G, "", "1 while new work is refused for lack of memory."},
      {"aragora_host_cpus", G, "", "Processors of the host."},
      {"aragora_host_cpu_seconds_total", C, "mode",
       "Time of the host's processors; absent where /proc/stat is hidden."},
      {"aragora_host_load1", G, "", "Load of the host, over a minute."},
      {"aragora_host_memory_size_bytes", G, "", "Memory of the host."},
      {"aragora_host_memory_free_bytes", G, "", "Memory of the host that nobody uses, not even as a cache."},
      {"aragora_host_memory_available_bytes", G, "",
       "Memory of the host that programs may have; absent where /proc/meminfo is hidden."},
      {"aragora_host_filesystem_size_bytes", G, "place", "File system of the state directory and of the backups."},
      {"aragora_host_filesystem_free_bytes", G, "place", "What is free there for others than root."},
      {"aragora_host_network_receive_bytes_total", C, "device", "Bytes that a network device received."},
      {"aragora_host_network_transmit_bytes_total", C, "device", "Bytes that a network device sent."},
      {"aragora_log_dropped_total", C, "", "Lines of the log that found no room: nobody reads as fast as they come."},
      {"aragora_metrics_dropped_total", C, "family",
       "What was not recorded because its family has too many series; a bug of ours."},
      {"aragora_build_info", G, "version, commit", "Always 1."},
      {"process_resident_memory_bytes", G, "", "Resident memory."},
      {"process_virtual_memory_bytes", G, "", "Address space."},
      {"process_cpu_seconds_total", C, "", "User and system CPU time."},
      {"process_open_fds", G, "", "Open file descriptors."},
      {"process_max_fds", G, "", "File descriptors that may be open at most."},
      {"process_threads", G, "", "Threads."},
      {"process_start_time_seconds", G, "", "Start of the process since the epoch."},
  };
  return all;
}

const Series* find(std::string_view wanted) {
  for (const auto& series : catalogue()) {
    if (series.name == wanted) return &series;
  }
  return nullptr;
}

std::string describe() {
  std::string page =
      "# Metrics\n\nWhat `GET /metrics` answers, in the Prometheus text format. Made of the same table as the answer; "
      "a "
      "test compares them.\nA label never takes what a client says. Bounds (`le`) are written as the clients of "
      "Prometheus write floating-point numbers\n(`le=\"1.0\"`), which is also what Prometheus 3 makes of them.\n\n"
      "| series | type | labels | meaning |\n|---|---|---|---|\n";
  for (const auto& series : catalogue()) {
    std::string more;
    for (const auto bound : bounds(series.buckets))
      more += fmt::format("{}{}", more.empty() ? " Bounds: " : ", ", bound);
    page += fmt::format("| `{}` | {} | {} | {}{}{} |\n", series.name, name(series.kind), series.labels, series.help,
                        more, more.empty() ? "" : ".");
  }
  return page;
}

}  // namespace aragora::metrics
