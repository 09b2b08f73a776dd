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

TEST(Gcra, AllowsTheBurstAndThenTheRate) {
  const Rate rate{60};
  Span ahead{0};
  for (int i = 0; i < 60; ++i) {
    const auto verdict = web::decide(rate, ahead, Counting::Take);
    EXPECT_TRUE(verdict.allowed) << i;
    EXPECT_EQ(verdict.remaining, 59 - i);
    ahead = verdict.ahead;
  }
  const auto refused = web::decide(rate, ahead, Counting::Take);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.ahead, ahead) << "a refusal is not counted";
  EXPECT_EQ(web::wholeSeconds(refused.wait), 1);
  EXPECT_TRUE(web::decide(rate, ahead - 1s, Counting::Take).allowed) << "what was promised";
  EXPECT_FALSE(web::decide(rate, ahead - 1s + 1us, Counting::Take).allowed) << "not earlier";
}

TEST(Gcra, InAnyWindowNeverMoreThanTheBurstAndTheRate) {
  std::mt19937 random(7);
  for (const std::int64_t limit : {1, 7, 60, 120, 1000}) {
    const Rate rate{limit};
    std::vector<Span> admitted;
    Span arrival{0};
    Span now{0};
    for (int i = 0; i < 20'000; ++i) {
      now += Span(random() % (2 * rate.emission().count()));
      const auto verdict = web::decide(rate, arrival - now, Counting::Take);
      if (!verdict.allowed) {
        EXPECT_TRUE(web::decide(rate, arrival - now - verdict.wait, Counting::Look).allowed) << "an honest wait";
        continue;
      }
      arrival = now + verdict.ahead;
      admitted.push_back(now);
    }
    for (std::size_t first = 0; first + static_cast<std::size_t>(limit) + 1 < admitted.size(); ++first) {
      const auto window = admitted[first + static_cast<std::size_t>(limit)] - admitted[first];
      EXPECT_GE(window, rate.emission()) << "limit + 1 events need one emission at least";
    }
  }
}

TEST(Gcra, LookCountsNothingAndGivingBackUndoes) {
  const Rate rate{5};
  const auto taken = web::decide(rate, 0us, Counting::Take);
  EXPECT_EQ(web::decide(rate, taken.ahead, Counting::Look).ahead, taken.ahead);
  EXPECT_EQ(web::decide(rate, taken.ahead, Counting::GiveBack).ahead, Span(0));
  EXPECT_EQ(web::decide(rate, Span(-5s), Counting::GiveBack).ahead, Span(0));
  EXPECT_LE(web::decide(rate, Span(24h), Counting::Look).wait, rate.emission()) << "a clock that went back";
  EXPECT_TRUE(web::decide({0}, Span(24h), Counting::Take).allowed) << "0 is no limit";
}

// What several instances share, without a Redis: as the script does it.
class Counts : public web::SharedCounts {
 public:
  bool count(const std::vector<Question>& questions, Counting counting, Done done) override {
    ++asked;
    if (!there) return false;
    std::vector<Span> ahead;
    bool allowed = true;
    for (const auto& one : questions) {
      ahead.push_back(std::max(kept[textOf(one.key)], one.least));
      allowed = allowed && web::decide(one.rate, ahead.back(), counting).allowed;
    }
    for (std::size_t i = 0; i < questions.size() && allowed; ++i)
      kept[textOf(questions[i].key)] = web::decide(questions[i].rate, ahead[i], counting).ahead;
    done(silent ? std::vector<Span>{} : ahead);
    return true;
  }
  std::size_t sharers() const override { return 3; }

  bool there = true;
  bool silent = false;
  int asked = 0;
  std::map<std::string, Span> kept;
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
    EXPECT_EQ(admittedOf(limits, address(30), 15), 15);
    (silent ? counts.silent : counts.there) = silent;
    EXPECT_EQ(admittedOf(limits, address(30), 100), 5) << "half of ten was used up";
    EXPECT_EQ(admittedOf(limits, address(30, "192.0.2.2"), 100), 10);
    EXPECT_EQ(admittedOf(limits, address(2, "192.0.2.3"), 100), 1) << "never closed";
  }
}

TEST(Limits, WhatOthersForgotIsNotForgottenHere) {
  Counts counts;
  web::Limits limits(&counts);
  EXPECT_EQ(admittedOf(limits, address(30), 29), 29);
  counts.kept.clear();
  EXPECT_EQ(admittedOf(limits, address(30), 30), 1);
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
  EXPECT_EQ(told("RateLimit"), R"("default";r=118;t=1, "account";r=0;t=30)");
  EXPECT_EQ(told("X-RateLimit-Limit"), "2");
  EXPECT_EQ(told("X-RateLimit-Remaining"), "0");
  const auto refused = limits.countWaiting(both, Counting::Take);
  EXPECT_FALSE(web::admitted(refused));
  EXPECT_EQ(web::retryAfter(refused), 30);
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
