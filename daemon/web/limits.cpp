#include "daemon/web/limits.h"

#include <algorithm>
#include <future>

#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::web {

namespace {
constexpr Names<Bucket, 13> kBuckets{{{Bucket::Address, "default"},
                                      {Bucket::Account, "account"},
                                      {Bucket::Refresh, "refresh"},
                                      {Bucket::Debates, "debates"},
                                      {Bucket::Reports, "reports"},
                                      {Bucket::Handshakes, "websocket"},
                                      {Bucket::LoginNetwork, "login"},
                                      {Bucket::LoginPair, "login-account"},
                                      {Bucket::LoginAccount, "login-everywhere"},
                                      {Bucket::LoginHourly, "login-hourly"},
                                      {Bucket::SecondFactor, "mfa"},
                                      {Bucket::Reset, "reset"},
                                      {Bucket::Tries, "tries"}}};

constexpr const char* kState = "RateLimit";

// Buckets of one client must not meet in the table.
LimitKey keyHere(const Limit& limit) {
  auto key = limit.key;
  key.words[1] ^= (static_cast<std::uint64_t>(limit.bucket) + 1) * 0xD6E8FEB86659FD93U;
  return key;
}

// Those that are counted before it is known whether they count: another instance may take one back at any time, so that
// nothing that was heard of them is sure.
bool mayBeGivenBack(Bucket bucket) {
  return bucket == Bucket::LoginNetwork || bucket == Bucket::LoginPair || bucket == Bucket::LoginAccount ||
         bucket == Bucket::LoginHourly || bucket == Bucket::SecondFactor;
}
}  // namespace

std::string_view name(Bucket bucket) { return nameIn(kBuckets, bucket); }

bool admitted(const Standings& standings) {
  return std::all_of(standings.begin(), standings.end(), [](const Standing& one) { return one.verdict.allowed; });
}

std::int64_t retryAfter(const Standings& standings) {
  Span wait{0};
  for (const auto& one : standings) {
    if (!one.verdict.allowed) wait = std::max(wait, one.verdict.wait);
  }
  return wholeSeconds(wait);
}

void addHeaders(const Standings& standings, edge::Response& response) {
  const bool has_them = std::any_of(response.headers.begin(), response.headers.end(),
                                    [](const auto& header) { return header.first == kState; });
  if (standings.empty() || has_them) return;
  std::vector<std::string> policies;
  std::vector<std::string> states;
  for (const auto& one : standings) {
    const auto shown = name(one.limit.bucket);
    policies.push_back(
        fmt::format("\"{}\";q={};w={}", shown, one.limit.rate.limit, wholeSeconds(one.limit.rate.window)));
    states.push_back(fmt::format("\"{}\";r={};t={}", shown, one.verdict.allowed ? one.verdict.remaining : 0,
                                 wholeSeconds(one.verdict.wait)));
  }
  const auto least = std::min_element(standings.begin(), standings.end(), [](const Standing& a, const Standing& b) {
    return std::pair(a.verdict.allowed, a.verdict.remaining) < std::pair(b.verdict.allowed, b.verdict.remaining);
  });
  const auto add = [&response](const char* field, std::string value) {
    response.headers.emplace_back(field, std::move(value));
  };
  add("RateLimit-Policy", join(policies, ", "));
  add(kState, join(states, ", "));
  add("X-RateLimit-Limit", fmt::format("{}", least->limit.rate.limit));
  add("X-RateLimit-Remaining", fmt::format("{}", least->verdict.allowed ? least->verdict.remaining : 0));
  add("X-RateLimit-Reset", fmt::format("{}", nowMicros() / 1'000'000 + wholeSeconds(least->verdict.wait)));
}

std::optional<Standings> Limits::count(LimitsOf limits, Counting counting, Done done) {
  std::erase_if(limits, [](const Limit& limit) { return limit.rate.limit <= 0; });
  if (limits.empty()) return Standings{};
  if (shared_ == nullptr) return countHere(limits, counting);
  const auto now = std::chrono::steady_clock::now();
  std::vector<RateLimiter::Known> known;
  std::vector<SharedCounts::Question> questions;
  for (const auto& limit : limits) {
    // Before the others hear of it: what is kept here is never more than what they have.
    if (counting == Counting::GiveBack) here_.decide(keyHere(limit), limit.rate, now, counting);
    known.push_back(mayBeGivenBack(limit.bucket) ? RateLimiter::Known{} : here_.known(keyHere(limit), limit.rate, now));
    questions.push_back({limit.key, limit.bucket, limit.rate, known.back().least});
  }
  if (counting != Counting::GiveBack) {
    if (auto refused = refusedForSure(limits, known)) return refused;
  }
  const auto alone = counting == Counting::GiveBack ? Counting::Look : counting;
  auto answered = [this, limits, counting, alone, now,
                   done = std::move(done)](const std::vector<SharedCounts::Count>& counts) {
    done(counts.empty() ? countHere(limits, alone) : note(limits, counts, counting, now));
  };
  if (shared_->count(std::move(questions), counting, std::move(answered))) return std::nullopt;
  return countHere(limits, alone);
}

// Whoever was refused and told when to come again need not be asked about until then.
std::optional<Standings> Limits::refusedForSure(const LimitsOf& limits,
                                                const std::vector<RateLimiter::Known>& known) const {
  if (std::all_of(known.begin(), known.end(), [](const auto& one) { return one.refused.count() == 0; }))
    return std::nullopt;
  Standings standings;
  for (std::size_t i = 0; i < limits.size(); ++i) {
    const auto& rate = limits[i].rate;
    const bool refused = known[i].refused.count() > 0;
    standings.push_back({limits[i],
                         {!refused, refused ? 0 : std::max<std::int64_t>(rate.limit - known[i].least, 0),
                          refused ? known[i].refused : rate.window}});
  }
  return standings;
}

Standings Limits::countWaiting(LimitsOf limits, Counting counting) {
  auto promised = std::make_shared<std::promise<Standings>>();  // shared with the answer
  auto future = promised->get_future();
  auto at_once = count(std::move(limits), counting,
                       [promised](Standings standings) { promised->set_value(std::move(standings)); });
  return at_once ? std::move(*at_once) : future.get();
}

// Of a limit that this instance counts alone it has its share.
Standings Limits::countHere(const LimitsOf& limits, Counting counting) {
  const auto now = std::chrono::steady_clock::now();
  const auto sharers = shared_ != nullptr ? static_cast<std::int64_t>(shared_->sharers()) : 1;
  Standings standings;
  for (auto limit : limits) {
    limit.rate.limit = std::max<std::int64_t>(limit.rate.limit / sharers, 1);
    standings.push_back({limit, here_.decide(keyHere(limit), limit.rate, now, counting)});
  }
  if (counting != Counting::Take || admitted(standings)) return standings;
  for (const auto& one : standings) {  // all or none
    if (one.verdict.allowed) here_.decide(keyHere(one.limit), one.limit.rate, now, Counting::GiveBack);
  }
  return standings;
}

Standings Limits::note(const LimitsOf& limits, const std::vector<SharedCounts::Count>& counts, Counting counting,
                       Time asked) {
  Standings standings;
  for (std::size_t i = 0; i < limits.size(); ++i)
    standings.push_back({limits[i], {counting == Counting::GiveBack || counts[i].events < limits[i].rate.limit}});
  const bool taken = counting == Counting::Take && admitted(standings);
  const std::int64_t more = taken ? 1 : counting == Counting::GiveBack ? -1 : 0;
  const auto now = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < limits.size(); ++i) {
    const auto& rate = limits[i].rate;
    auto& verdict = standings[i].verdict;
    verdict.remaining = std::max<std::int64_t>(rate.limit - counts[i].events - more, 0);
    verdict.wait = taken && counts[i].events == 0 ? rate.window : counts[i].wait;
    const auto key = keyHere(limits[i]);
    if (taken) here_.counted(key, rate, asked);
    if (verdict.remaining == 0 && !mayBeGivenBack(limits[i].bucket)) here_.refused(key, rate, now + verdict.wait);
  }
  return standings;
}

}  // namespace aragora::web
