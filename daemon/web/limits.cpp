#include "daemon/web/limits.h"

#include <algorithm>
#include <future>

#include "common/base/clock.h"
#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::web {

namespace {
constexpr Names<Bucket, 9> kBuckets{{{Bucket::Address, "default"},
                                     {Bucket::Account, "account"},
                                     {Bucket::Refresh, "refresh"},
                                     {Bucket::Debates, "debates"},
                                     {Bucket::Handshakes, "websocket"},
                                     {Bucket::LoginNetwork, "login"},
                                     {Bucket::LoginPair, "login-account"},
                                     {Bucket::LoginAccount, "login-everywhere"},
                                     {Bucket::Tries, "tries"}}};

constexpr const char* kState = "RateLimit";

// Buckets of one client must not meet in the table.
LimitKey keyHere(const Limit& limit) {
  auto key = limit.key;
  key.words[1] ^= (static_cast<std::uint64_t>(limit.bucket) + 1) * 0xD6E8FEB86659FD93U;
  return key;
}

std::int64_t secondsUntilMore(const Standing& standing) {
  const auto& verdict = standing.verdict;
  return wholeSeconds(!verdict.allowed || verdict.remaining == 0 ? verdict.wait : verdict.full);
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
    states.push_back(
        fmt::format("\"{}\";r={};t={}", shown, one.verdict.allowed ? one.verdict.remaining : 0, secondsUntilMore(one)));
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
  add("X-RateLimit-Reset", fmt::format("{}", nowMicros() / 1'000'000 + secondsUntilMore(*least)));
}

std::optional<Standings> Limits::count(LimitsOf limits, Counting counting, Done done) {
  std::erase_if(limits, [](const Limit& limit) { return limit.rate.limit <= 0; });
  if (limits.empty()) return Standings{};
  if (shared_ == nullptr) return countHere(limits, counting);
  const auto now = std::chrono::steady_clock::now();
  std::vector<SharedCounts::Question> questions;
  std::vector<Span> known;
  for (const auto& limit : limits) {
    known.push_back(std::max(here_.ahead(keyHere(limit), now), Span(0)));
    questions.push_back({limit.key, limit.bucket, limit.rate, known.back()});
  }
  // What is known here of what all counted only grows there: whoever is refused by it need not be asked about.
  if (counting != Counting::GiveBack) {
    Standings standings;
    for (std::size_t i = 0; i < limits.size(); ++i)
      standings.push_back({limits[i], decide(limits[i].rate, known[i], Counting::Look)});
    if (!admitted(standings)) return standings;
  }
  const auto answered = [this, limits, counting, done = std::move(done)](const std::vector<Span>& ahead) {
    done(ahead.empty() ? countHere(limits, counting) : note(limits, ahead, counting));
  };
  if (shared_->count(questions, counting, answered)) return std::nullopt;
  return countHere(limits, counting);
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

Standings Limits::note(const LimitsOf& limits, const std::vector<Span>& ahead, Counting counting) {
  const auto now = std::chrono::steady_clock::now();
  Standings standings;
  for (std::size_t i = 0; i < limits.size(); ++i)
    standings.push_back({limits[i], decide(limits[i].rate, ahead[i], counting)});
  const bool counted = admitted(standings) && counting != Counting::Look;
  for (std::size_t i = 0; i < limits.size(); ++i) {
    const auto kept = counted ? standings[i].verdict.ahead : ahead[i];
    here_.set(keyHere(limits[i]), kept, now);
  }
  return standings;
}

}  // namespace aragora::web
