// GCRA (generic cell rate algorithm) over a bounded table: `limit` events a minute for each key, as many at once, no
// window edges. Keys have a fixed size, so that what a client sends cannot fill memory. When the table is full, whoever
// is not being limited is forgotten first, then half of the rest. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace aragora::web {

// What is counted: an address's network, or the digest of a name.
struct LimitKey {
  std::array<std::uint64_t, 2> words{};
  bool operator==(const LimitKey&) const = default;
};
struct LimitKeyHash {
  std::size_t operator()(const LimitKey& key) const { return key.words[0] * 0x9E3779B97F4A7C15U ^ key.words[1]; }
};
// The address itself for IPv4 (mapped ones too), the /64 for IPv6. What is no address counts as one.
LimitKey networkKey(const std::string& address);
// Of the parts together.
LimitKey digestKey(std::initializer_list<std::string_view> parts);

class RateLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;
  explicit RateLimiter(std::int64_t per_minute) : per_minute_(per_minute) {}

  struct Decision {
    bool allowed = true;
    std::int64_t limit = 0;  // 0: limiting is off
    std::int64_t remaining = 0;
    std::int64_t retry_after = 0;  // whole seconds, rounded up
  };
  Decision take(const LimitKey& key, Time now) { return decide(key, now, true); }
  // What take() would say; nothing is counted.
  Decision look(const LimitKey& key, Time now) { return decide(key, now, false); }
  void setLimit(std::int64_t per_minute) { per_minute_ = per_minute; }

 private:
  static constexpr std::size_t kShards = 16;
  static constexpr std::size_t kEntriesPerShard = 6400;
  struct Shard {
    std::mutex mutex;
    std::unordered_map<LimitKey, Time, LimitKeyHash> arrival;  // theoretical arrival time of the next event
  };
  Decision decide(const LimitKey& key, Time now, bool count);
  static void makeRoom(Shard& shard, Time now);
  std::atomic<std::int64_t> per_minute_;
  std::array<Shard, kShards> shards_;
};

}  // namespace aragora::web
