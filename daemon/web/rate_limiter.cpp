#include "daemon/web/rate_limiter.h"

#include <cstring>

#include "common/base/text.h"
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

std::string textOf(const LimitKey& key) {
  return toHex({reinterpret_cast<const char*>(key.words.data()), sizeof key.words});
}

void RateLimiter::makeRoom(Shard& shard, Time now) {
  if (shard.arrival.size() < kEntriesPerShard) return;
  for (auto entry = shard.arrival.begin(); entry != shard.arrival.end();)
    entry = entry->second <= now ? shard.arrival.erase(entry) : std::next(entry);
  // Still full: half of them, so that a flood of addresses pays for one walk in thousands of requests.
  const bool full = shard.arrival.size() > kEntriesPerShard * 3 / 4;
  while (full && shard.arrival.size() > kEntriesPerShard / 2) shard.arrival.erase(shard.arrival.begin());
}

Span RateLimiter::aheadIn(const Shard& shard, const LimitKey& key, Time now) {
  const auto found = shard.arrival.find(key);
  if (found == shard.arrival.end()) return Span(0);
  return std::chrono::duration_cast<Span>(found->second - now);
}

void RateLimiter::keep(Shard& shard, const LimitKey& key, Span ahead, Time now) {
  if (ahead.count() <= 0) {
    shard.arrival.erase(key);
    return;
  }
  makeRoom(shard, now);
  shard.arrival[key] = now + ahead;
}

Verdict RateLimiter::decide(const LimitKey& key, const Rate& rate, Time now, Counting counting) {
  auto& shard = shardOf(key);
  const std::lock_guard lock(shard.mutex);
  const auto verdict = web::decide(rate, aheadIn(shard, key, now), counting);
  if (counting != Counting::Look && verdict.allowed) keep(shard, key, verdict.ahead, now);
  return verdict;
}

Span RateLimiter::ahead(const LimitKey& key, Time now) {
  auto& shard = shardOf(key);
  const std::lock_guard lock(shard.mutex);
  return aheadIn(shard, key, now);
}

void RateLimiter::set(const LimitKey& key, Span ahead, Time now) {
  auto& shard = shardOf(key);
  const std::lock_guard lock(shard.mutex);
  keep(shard, key, ahead, now);
}

}  // namespace aragora::web
