// GCRA (generic cell rate algorithm) over a bounded table of client addresses: `limit` requests a minute, as many at
// once, no window edges. IPv6 clients count by /64. Thread-safe; when the table is full the oldest entries go.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <unordered_map>

namespace aragora::web {

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
  Decision take(const std::string& address, Time now);
  void setLimit(std::int64_t per_minute) { per_minute_ = per_minute; }

 private:
  static constexpr std::size_t kShards = 16;
  static constexpr std::size_t kEntriesPerShard = 6400;
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, Time> arrival;  // theoretical arrival time of the next request
  };
  std::atomic<std::int64_t> per_minute_;
  std::array<Shard, kShards> shards_;
};

// 1.2.3.4 as it is, ::ffff:1.2.3.4 as 1.2.3.4, other IPv6 addresses cut to their first 64 bits.
std::string rateLimitKey(const std::string& address);

}  // namespace aragora::web
