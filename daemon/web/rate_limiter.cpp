#include "daemon/web/rate_limiter.h"

#include <cstring>

#include "common/crypto/hash.h"
#include "common/net/address.h"

namespace aragora::web {

LimitKey networkKey(const std::string& address) {
  LimitKey key;
  const auto ip = net::Ip::parse(address);
  if (!ip) return key;
  std::memcpy(key.words.data(), ip->bytes.data(), 8);  // an IPv4 address has four, an IPv6 network eight
  key.words[1] = ip->v6 ? 6 : 4;
  return key;
}

LimitKey digestKey(std::initializer_list<std::string_view> parts) {
  std::string text;
  for (const auto part : parts) text += fmt::format("{}:{}", part.size(), part);
  const auto digest = crypto::sha256(text);
  LimitKey key;
  std::memcpy(key.words.data(), digest.data(), sizeof key.words);
  return key;
}

void RateLimiter::makeRoom(Shard& shard, Time now) {
  if (shard.arrival.size() < kEntriesPerShard) return;
  for (auto entry = shard.arrival.begin(); entry != shard.arrival.end();)
    entry = entry->second <= now ? shard.arrival.erase(entry) : std::next(entry);
  // Still full: half of them, so that a flood of addresses pays for one walk in thousands of requests.
  const bool full = shard.arrival.size() > kEntriesPerShard * 3 / 4;
  while (full && shard.arrival.size() > kEntriesPerShard / 2) shard.arrival.erase(shard.arrival.begin());
}

RateLimiter::Decision RateLimiter::decide(const LimitKey& key, Time now, bool count) {
  const auto limit = per_minute_.load(std::memory_order_relaxed);
  if (limit <= 0) return {};
  const auto emission = std::chrono::nanoseconds(std::chrono::minutes(1)) / limit;
  const auto burst = emission * limit;
  auto& shard = shards_[LimitKeyHash{}(key) % kShards];
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.arrival.find(key);
  const auto arrival = found == shard.arrival.end() ? now : std::max(found->second, now);
  const auto next = arrival + emission;
  const auto room = now + burst - next;
  if (room.count() < 0) {
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(-room).count();
    return {false, limit, 0, (wait + 999) / 1000};
  }
  if (count) {
    makeRoom(shard, now);
    shard.arrival[key] = next;
  }
  return {true, limit, room / emission, 0};
}

}  // namespace aragora::web
