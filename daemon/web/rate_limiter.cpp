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

namespace {
// Counted there a moment after it was asked for here: until then it is not sure that it still counts.
constexpr auto kUnsure = std::chrono::milliseconds(200);

Span clockOf(RateLimiter::Time time) { return std::chrono::duration_cast<Span>(time.time_since_epoch()); }
}  // namespace

void RateLimiter::forget(Shard& shard, const LimitKey& key) {
  const auto found = shard.clients.find(key);
  shard.groups -= found->second.events.size();
  shard.clients.erase(found);
}

void RateLimiter::makeRoom(Shard& shard, Time now) {
  const auto share = [&shard](std::size_t of_four) {
    return shard.clients.size() >= kEntriesPerShard * of_four / 4 || shard.groups >= kGroupsPerShard * of_four / 4;
  };
  if (!share(4)) return;
  for (auto client = shard.clients.begin(); client != shard.clients.end();) {
    const auto& [key, kept] = *client++;
    if (kept.forgotten_at <= now) forget(shard, LimitKey(key));
  }
  // Still full: half of them, so that a flood of addresses pays for one walk in thousands of requests.
  const bool full = share(3);
  while (full && share(2)) forget(shard, LimitKey(shard.clients.begin()->first));
}

template <typename Change>
auto RateLimiter::change(const LimitKey& key, const Rate& rate, Time now, const Change& change) {
  auto& shard = shardOf(key);
  const std::lock_guard lock(shard.mutex);
  makeRoom(shard, now);
  auto& client = shard.clients[key];
  shard.groups -= client.events.size();
  auto result = change(client);
  shard.groups += client.events.size();
  client.forgotten_at = std::max(client.refused_until, now);
  if (client.events.size() > 0) client.forgotten_at = std::max(client.forgotten_at, now + rate.window);
  if (client.events.size() == 0 && client.refused_until <= now) shard.clients.erase(key);
  return result;
}

Verdict RateLimiter::decide(const LimitKey& key, const Rate& rate, Time now, Counting counting) {
  return change(key, rate, now, [&](Client& client) {
    if (counting == Counting::GiveBack) client.refused_until = {};
    // All of them together said no, and until when.
    if (client.refused_until > now) return Verdict{false, 0, std::chrono::ceil<Span>(client.refused_until - now)};
    return client.events.decide(rate, clockOf(now), counting);
  });
}

RateLimiter::Known RateLimiter::known(const LimitKey& key, const Rate& rate, Time now) {
  auto& shard = shardOf(key);
  const std::lock_guard lock(shard.mutex);
  const auto found = shard.clients.find(key);
  if (found == shard.clients.end()) return {};
  const auto& client = found->second;
  return {client.events.after(clockOf(now) - rate.window + kUnsure + groupSpan(rate)),
          std::max(std::chrono::duration_cast<Span>(client.refused_until - now), Span(0))};
}

void RateLimiter::counted(const LimitKey& key, const Rate& rate, Time asked) {
  change(key, rate, asked, [&](Client& client) {
    client.events.decide(rate, clockOf(asked), Counting::Look);  // what is too old goes
    client.events.add(rate, clockOf(asked));
    return true;
  });
}

void RateLimiter::refused(const LimitKey& key, const Rate& rate, Time until) {
  const auto now = std::chrono::steady_clock::now();
  change(key, rate, now, [&](Client& client) {
    client.refused_until = until;
    return true;
  });
}

}  // namespace aragora::web
