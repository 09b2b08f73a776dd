// What this process knows of how often clients came: a bounded table for GCRA (gcra.h). Keys have a fixed size, so that
// what a client sends cannot fill memory. When the table is full, whoever has nothing to wait for is forgotten first,
// then half of the rest. Thread-safe.
#pragma once

#include <array>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "daemon/web/gcra.h"

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
// 32 hex digits.
std::string textOf(const LimitKey& key);

class RateLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Verdict decide(const LimitKey& key, const Rate& rate, Time now, Counting counting);
  // What is kept of a client; nothing when it is negative or unknown.
  Span ahead(const LimitKey& key, Time now);
  // What others know of it.
  void set(const LimitKey& key, Span ahead, Time now);

 private:
  static constexpr std::size_t kShards = 16;
  static constexpr std::size_t kEntriesPerShard = 6400;
  struct Shard {
    std::mutex mutex;
    std::unordered_map<LimitKey, Time, LimitKeyHash> arrival;  // theoretical arrival time of the next event
  };
  Shard& shardOf(const LimitKey& key) { return shards_[LimitKeyHash{}(key) % kShards]; }
  static Span aheadIn(const Shard& shard, const LimitKey& key, Time now);
  static void keep(Shard& shard, const LimitKey& key, Span ahead, Time now);
  static void makeRoom(Shard& shard, Time now);
  std::array<Shard, kShards> shards_;
};

}  // namespace aragora::web
