// Limits: the arithmetic against a clock of the test's own, what is shared and what is not, and what clients are told.
#include <gtest/gtest.h>

#include <random>

#include "common/base/text.h"
#include "daemon/web/limits.h"

namespace aragora {
namespace {

using namespace std::chrono_literals;
using web::Bucket;
using web::Counting;
using web::Rate;
using web::Span;

TEST(SlidingWindow, AllowsTheLimitAtOnceAndThenWhatIsAWindowOld) {
  const Rate rate{60};
  web::Events events;
  for (int i = 0; i < 60; ++i) {
    const auto verdict = events.decide(rate, Span(i * 500ms), Counting::Take);
    EXPECT_TRUE(verdict.allowed) << i;
    EXPECT_EQ(verdict.remaining, 59 - i);
    EXPECT_EQ(verdict.wait, 60s - i * 500ms) << "until the first is a window old";
  }
  const auto refused = events.decide(rate, 59s, Counting::Take);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(web::wholeSeconds(refused.wait), 1);
  EXPECT_FALSE(events.decide(rate, 60s - 1us, Counting::Take).allowed) << "a refusal is not counted; not earlier";
  EXPECT_TRUE(events.decide(rate, 60s, Counting::Take).allowed) << "what was promised";
  EXPECT_FALSE(events.decide(rate, 60s, Counting::Take).allowed);
}

// What was admitted, in any window: the most that one holds.
std::int64_t mostInAWindow(const std::vector<Span>& admitted, Span window) {
  std::size_t first = 0;
  std::size_t most = 0;
  for (std::size_t last = 0; last < admitted.size(); ++last) {
    while (admitted[first] <= admitted[last] - window) ++first;
    most = std::max(most, last - first + 1);
  }
  return static_cast<std::int64_t>(most);
}

// Crowds, pauses and trickles, in any order; more than the limit on the whole.
Span nextArrival(std::mt19937& random, Span between) {
  if (random() % 256 == 0) return Span(random() % (between.count() * 100));
  switch (random() % 4) {
    case 0:
      return between;
    case 1:
      return Span(random() % between.count());
    default:
      return Span(random() % 1000);
  }
}

TEST(SlidingWindow, InNoWindowMoreThanTheLimitHoweverTheyCome) {
  std::mt19937 random(7);
  for (const std::int64_t limit : {1, 2, 7, 60, 120, 500, 1000, 5000}) {
    const Rate rate{limit};
    web::Events events;
    std::vector<Span> admitted;
    Span now{0};
    for (int i = 0; i < 60'000; ++i) {
      now += nextArrival(random, rate.window / limit);
      const auto verdict = events.decide(rate, now, Counting::Take);
      if (verdict.allowed) {
        admitted.push_back(now);
        continue;
      }
      if (random() % 64 == 0) {
        now += verdict.wait;
        EXPECT_TRUE(events.decide(rate, now, Counting::Look).allowed) << "an honest wait";
      }
    }
    EXPECT_LE(mostInAWindow(admitted, rate.window), limit);
    EXPECT_GE(mostInAWindow(admitted, rate.window), limit - limit / 100) << "and not much less";
    EXPECT_LE(events.size(), static_cast<std::size_t>(web::kGroupsInWindow + 1));
  }
}

TEST(SlidingWindow, WhoComesEvenlyAtTheLimitIsNeverRefused) {
  std::mt19937 random(8);
  for (const std::int64_t limit : {1, 2, 5, 7, 60, 119, 120, 500, 512}) {
    const Rate rate{limit};
    web::Events events;
    const Span start(random() % 60'000'000);
    const auto between = rate.window / limit + Span(rate.window.count() % limit == 0 ? 0 : 1);
    for (int i = 0; i < 5000; ++i)
      ASSERT_TRUE(events.decide(rate, start + i * between, Counting::Take).allowed) << limit << ' ' << i;
  }
}

TEST(SlidingWindow, ManyEventsLoseNoMoreThanAGroup) {
  const Rate rate{6000};
  web::Events events;
  int refused = 0;
  for (int i = 0; i < 60'000; ++i) refused += events.decide(rate, Span(i * 10ms), Counting::Take).allowed ? 0 : 1;
  EXPECT_LE(refused, 60'000 / 250);
}

TEST(SlidingWindow, LookCountsNothingAndGivingBackUndoes) {
  const Rate rate{5};
  web::Events events;
  events.decide(rate, 1s, Counting::Take);
  EXPECT_EQ(events.decide(rate, 2s, Counting::Look).remaining, 4);
  EXPECT_EQ(events.decide(rate, 2s, Counting::GiveBack).remaining, 5);
  EXPECT_EQ(events.decide(rate, 2s, Counting::GiveBack).remaining, 5) << "there was nothing";
  EXPECT_EQ(events.size(), 0U);
  for (int i = 0; i < 3; ++i) events.decide(rate, 3s, Counting::Take);  // of one moment
  EXPECT_EQ(events.decide(rate, 3s, Counting::GiveBack).remaining, 3);
  EXPECT_TRUE(events.decide({0}, 3s, Counting::Take).allowed) << "0 is no limit";
  const auto less = events.decide({1}, 3s, Counting::Take);
  EXPECT_FALSE(less.allowed) << "the limit is another now";
  EXPECT_EQ(less.wait, 60s);
}

// What several instances share, without a Redis: as the script does it.
class Counts : public web::SharedCounts {
 public:
  bool count(std::vector<Question> questions, Counting counting, Done done) override {
    ++asked;
    if (!there) return false;
    const auto now = std::chrono::duration_cast<Span>(std::chrono::steady_clock::now().time_since_epoch());
    std::vector<Count> counts;
    bool allowed = true;
    for (const auto& one : questions) {
      auto& events = kept[textOf(one.key)];
      while (one.rate.limit - events.decide(one.rate, now, Counting::Look).remaining < one.least)
        events.add(one.rate, now);
      const auto verdict = events.decide(one.rate, now, Counting::Look);
      counts.push_back({one.rate.limit - verdict.remaining, verdict.wait});
      allowed = allowed && verdict.allowed;
    }
    for (const auto& one : questions) {
      if (allowed || counting == Counting::GiveBack) kept[textOf(one.key)].decide(one.rate, now, counting);
    }
    done(silent ? std::vector<Count>{} : counts);
    return true;
  }
  std::size_t sharers() const override { return 3; }

  bool there = true;
  bool silent = false;
  int asked = 0;
  std::map<std::string, web::Events> kept;
};

web::LimitsOf address(std::int64_t limit, const std::string& text = "192.0.2.1") {
  return {{Bucket::Address, {limit}, web::networkKey(text)}};
}

int admittedOf(web::Limits& limits, const web::LimitsOf& what, int tries) {
  int count = 0;
  for (int i = 0; i < tries; ++i) count += web::admitted(limits.countWaiting(what, Counting::Take)) ? 1 : 0;
  return count;
}

TEST(Limits, OfSeveralInstancesAreOne) {
  Counts counts;
  web::Limits first(&counts);
  web::Limits second(&counts);
  int admitted = 0;
  for (int i = 0; i < 40; ++i) admitted += admittedOf(first, address(30), 1) + admittedOf(second, address(30), 1);
  EXPECT_EQ(admitted, 30);
}

TEST(Limits, WhoIsRefusedForSureIsNotAskedAbout) {
  Counts counts;
  web::Limits limits(&counts);
  EXPECT_EQ(admittedOf(limits, address(10), 1000), 10);
  EXPECT_LE(counts.asked, 12);
}

TEST(Limits, WithoutOthersEachHasItsShareAndGoesOnFromWhatItKnew) {
  for (const bool silent : {false, true}) {
    Counts counts;
    web::Limits limits(&counts);
    EXPECT_EQ(admittedOf(limits, address(30), 4), 4);
    EXPECT_EQ(admittedOf(limits, address(30, "192.0.2.4"), 15), 15);
    (silent ? counts.silent : counts.there) = silent;
    EXPECT_EQ(admittedOf(limits, address(30), 100), 6) << "four of its ten were used up";
    EXPECT_EQ(admittedOf(limits, address(30, "192.0.2.4"), 100), 0) << "it had more than its share";
    EXPECT_EQ(admittedOf(limits, address(30, "192.0.2.2"), 100), 10);
    EXPECT_EQ(admittedOf(limits, address(2, "192.0.2.3"), 100), 1) << "never closed";
  }
}

TEST(Limits, WhoWasRefusedByAllIsRefusedByOneAlone) {
  Counts counts;
  web::Limits here(&counts);
  web::Limits elsewhere(&counts);
  EXPECT_EQ(admittedOf(elsewhere, address(30), 30), 30);
  EXPECT_EQ(admittedOf(here, address(30), 1), 0);
  counts.there = false;
  EXPECT_EQ(admittedOf(here, address(30), 30), 0);
}

TEST(Limits, WhatOthersForgotIsNotForgottenHere) {
  Counts counts;
  web::Limits limits(&counts);
  EXPECT_EQ(admittedOf(limits, address(30), 29), 29);
  counts.kept.clear();
  EXPECT_EQ(admittedOf(limits, address(30), 30), 1);
}

// Another instance may give one back, of which this one does not hear.
TEST(Limits, WhatMayBeGivenBackIsAskedAboutEachTime) {
  Counts counts;
  web::Limits here(&counts);
  web::Limits elsewhere(&counts);
  const web::LimitsOf login{{Bucket::LoginNetwork, {3}, web::networkKey("192.0.2.1")}};
  EXPECT_EQ(admittedOf(elsewhere, login, 3), 3);
  EXPECT_EQ(admittedOf(here, login, 2), 0);
  elsewhere.countWaiting(login, Counting::GiveBack);
  EXPECT_EQ(admittedOf(here, login, 2), 1);
}

TEST(Limits, WhatIsGivenBackWithoutOthersIsGivenBackOnce) {
  web::Limits limits;
  const auto what = address(5);
  EXPECT_EQ(admittedOf(limits, what, 9), 5);
  limits.countWaiting(what, Counting::GiveBack);
  EXPECT_EQ(admittedOf(limits, what, 9), 1);
}

TEST(Limits, SeveralBucketsCountAllOrNone) {
  Counts counts;
  web::Limits shared(&counts);
  web::Limits alone;
  for (auto* limits : {&shared, &alone}) {
    auto both = address(5);
    both.push_back({Bucket::Debates, {2}, web::digestKey({"somebody"})});
    EXPECT_EQ(admittedOf(*limits, both, 10), 2);
    EXPECT_EQ(admittedOf(*limits, address(5), 10), 3) << "what was refused by one counted for none";
  }
}

TEST(Limits, ClientsAreTold) {
  web::Limits limits;
  auto both = address(120);
  both.push_back({Bucket::Account, {2}, web::digestKey({"somebody"})});
  limits.countWaiting(both, Counting::Take);
  edge::Response response;
  const auto told = [&response](std::string_view name) {
    for (const auto& [field, value] : response.headers) {
      if (field == name) return value;
    }
    return std::string();
  };
  web::addHeaders(limits.countWaiting(both, Counting::Take), response);
  EXPECT_EQ(told("RateLimit-Policy"), R"("default";q=120;w=60, "account";q=2;w=60)");
  EXPECT_EQ(told("RateLimit"), R"("default";r=118;t=60, "account";r=0;t=60)");
  EXPECT_EQ(told("X-RateLimit-Limit"), "2");
  EXPECT_EQ(told("X-RateLimit-Remaining"), "0");
  const auto refused = limits.countWaiting(both, Counting::Take);
  EXPECT_FALSE(web::admitted(refused));
  EXPECT_EQ(web::retryAfter(refused), 60);
  response = {};
  web::addHeaders({}, response);
  EXPECT_TRUE(response.headers.empty());
}

TEST(LimitKeys, AreOfTheNetworkAndNeverMeetOverBuckets) {
  web::Limits limits;
  EXPECT_EQ(
      admittedOf(limits, address(3, "2001:db8:1:2::1"), 3) + admittedOf(limits, address(3, "2001:db8:1:2:ffff::9"), 3),
      3);
  EXPECT_EQ(admittedOf(limits, address(3, "2001:db8:1:3::1"), 3), 3);
  EXPECT_EQ(admittedOf(limits, address(3, "::ffff:192.0.2.9"), 2) + admittedOf(limits, address(3, "192.0.2.9"), 2), 3);
  EXPECT_EQ(admittedOf(limits, {{Bucket::Handshakes, {3}, web::networkKey("192.0.2.9")}}, 4), 3);
}

}  // namespace
}  // namespace aragora
