#include "daemon/web/rate_limiter.h"

#include <arpa/inet.h>

#include "common/base/text.h"

namespace aragora::web {

std::string rateLimitKey(const std::string& address) {
  in6_addr six{};
  if (::inet_pton(AF_INET6, address.c_str(), &six) != 1) return address;
  if (IN6_IS_ADDR_V4MAPPED(&six)) {
    char text[INET_ADDRSTRLEN];
    return ::inet_ntop(AF_INET, &six.s6_addr[12], text, sizeof text) != nullptr ? text : address;
  }
  return toHex(std::string_view(reinterpret_cast<const char*>(six.s6_addr), 8));
}

RateLimiter::Decision RateLimiter::take(const std::string& address, Time now) {
  const auto limit = per_minute_.load(std::memory_order_relaxed);
  if (limit <= 0) return {};
  const auto key = rateLimitKey(address);
  const auto emission = std::chrono::nanoseconds(std::chrono::minutes(1)) / limit;
  const auto burst = emission * limit;
  auto& shard = shards_[std::hash<std::string>{}(key) % kShards];
  const std::lock_guard lock(shard.mutex);
  if (shard.arrival.size() >= kEntriesPerShard) {
    // Whoever is not being limited loses nothing by being forgotten.
    for (auto entry = shard.arrival.begin(); entry != shard.arrival.end();)
      entry = entry->second <= now ? shard.arrival.erase(entry) : std::next(entry);
    const bool full = shard.arrival.size() > kEntriesPerShard * 3 / 4;
    // Still full: half of them, so that a flood of addresses pays for one walk in thousands of requests.
    while (shard.arrival.size() > kEntriesPerShard / 2 && full) shard.arrival.erase(shard.arrival.begin());
  }
  auto& stored = shard.arrival.try_emplace(key, now).first->second;
  const auto arrival = std::max(stored, now);
  const auto next = arrival + emission;
  const auto room = now + burst - next;
  if (room.count() < 0) {
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(-room).count();
    return {false, limit, 0, (wait + 999) / 1000};
  }
  stored = next;
  return {true, limit, room / emission, 0};
}

}  // namespace aragora::web
