// What a shard counts of its clients, at hand for its I/O thread.
#pragma once

#include "common/metrics/metrics.h"

namespace aragora::ws {

// What clients send, by the type that was understood.
enum class Heard { Ping, Authenticate, Subscribe, Unsubscribe, Unknown };

class Counters {
 public:
  explicit Counters(metrics::Registry& registry)
      : opened(registry.counter("aragora_websocket_connections_total")),
        failed(registry.counter("aragora_websocket_errors_total")),
        slow(registry.counter("aragora_websocket_slow_clients_total")),
        event(registry.counter(kMessages, {{"direction", "out"}, {"message_type", "event"}})),
        control(registry.counter(kMessages, {{"direction", "out"}, {"message_type", "control"}})),
        delta(registry.counter(kMessages, {{"direction", "out"}, {"message_type", "delta"}})),
        lost_delta(registry.counter("aragora_websocket_deltas_lost_total")) {
    for (const auto* type : {"ping", "auth", "subscribe", "unsubscribe", "unknown"})
      heard_.push_back(registry.counter(kMessages, {{"direction", "in"}, {"message_type", type}}));
  }
  void heard(Heard what) const { heard_.at(static_cast<std::size_t>(what)).add(); }

  metrics::Counter opened;
  metrics::Counter failed;
  metrics::Counter slow;
  metrics::Counter event;
  metrics::Counter control;
  metrics::Counter delta;
  metrics::Counter lost_delta;

 private:
  static constexpr const char* kMessages = "aragora_websocket_messages_total";
  std::vector<metrics::Counter> heard_;
};

}  // namespace aragora::ws
