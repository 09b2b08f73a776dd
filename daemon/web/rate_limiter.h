// What this process knows of how often clients came to it: a bounded table of their events (sliding_window.h). Keys
// have a fixed size, so that what a client sends cannot fill memory. When the table is full, whoever has nothing to
// wait for is forgotten first, then half of the rest. Thread-safe.
#pragma once

#include <array>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "daemon/web/sliding_window.h"

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

  // Where all instances count together, their answers are noted here:
  struct Known {
    std::int64_t least = 0;  // events that came here and count there, too, for sure
    Span refused{0};         // for so long whoever asks is refused
  };
  Known known(const LimitKey& key, const Rate& rate, Time now);
  // One was counted there that was asked for then.
  void counted(const LimitKey& key, const Rate& rate, Time asked);
  void refused(const LimitKey& key, const Rate& rate, Time until);

 private:
  static constexpr std::size_t kShards = 16;
  static constexpr std::size_t kEntriesPerShard = 6400;
  static constexpr std::size_t kGroupsPerShard = 128'000;
  struct Client {
    Events events;
    Time refused_until{};
    Time forgotten_at{};  // nothing counts any more
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_map<LimitKey, Client, LimitKeyHash> clients;
    std::size_t groups = 0;  // of events, of all clients
  };
  Shard& shardOf(const LimitKey& key) { return shards_[LimitKeyHash{}(key) % kShards]; }
  template <typename Change>
  auto change(const LimitKey& key, const Rate& rate, Time now, const Change& change);
  static void makeRoom(Shard& shard, Time now);
  static void forget(Shard& shard, const LimitKey& key);
  std::array<Shard, kShards> shards_;
};

}  // namespace aragora::web
