// The limits' script in a real Redis: the same decisions as the arithmetic in this process makes.
#include <cmath>
#include <cstring>
#include <future>
#include <random>

#include "daemon/cluster/shared_limits.h"
#include "tests/integration/services.h"

namespace aragora {
namespace {

using namespace std::chrono_literals;
using web::Bucket;
using web::Counting;

struct Instance {
  explicit Instance(const std::string& prefix, const std::string& name)
      : sisters(
            {redis::parseUrl(Secret(service("TEST_REDIS"))), prefix, name}, [](const cluster::Heard&) {}, [](bool) {}),
        shared(sisters, 2),
        limits(&shared) {
    sisters.start();
    EXPECT_EQ(sisters.state(), redis::LinkState::Connected);
  }
  bool take(const web::LimitsOf& what) { return web::admitted(limits.countWaiting(what, Counting::Take)); }
  std::optional<redis::Reply> ask(const redis::Command& command) {
    auto promised = std::make_shared<std::promise<std::optional<redis::Reply>>>();
    auto future = promised->get_future();
    if (!sisters.link()->send(command, 5s, [promised](const redis::Reply* reply) {
          promised->set_value(reply != nullptr ? std::optional(*reply) : std::nullopt);
        }))
      return std::nullopt;
    return future.get();
  }
  cluster::Sisters sisters;
  cluster::SharedLimits shared;
  web::Limits limits;
};

struct SharedLimits : testing::Test {
  std::string prefix = "test:{" + newUlid() + "}";
  Instance first{prefix, "first"};
  Instance second{prefix, "second"};
};

// An hour's window, so that nothing is added while a slow machine counts.
web::Limit hourly(std::int64_t limit, std::string_view who, Bucket bucket = Bucket::Address) {
  return {bucket, {limit, std::chrono::hours(1)}, web::digestKey({who})};
}

TEST_F(SharedLimits, TwoInstancesAdmitTheLimitFromManyThreads) {
  std::atomic<int> admitted{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, &at = i % 2 == 0 ? first : second] {
        for (int n = 0; n < 60; ++n) admitted += at.take({hourly(120, "crowd")}) ? 1 : 0;
      });
  }
  EXPECT_EQ(admitted, 120);
}

TEST_F(SharedLimits, AllOrNoneAndGivingBack) {
  const web::LimitsOf both{hourly(10, "a"), hourly(2, "a", Bucket::Debates)};
  EXPECT_TRUE(first.take(both));
  EXPECT_TRUE(second.take(both));
  EXPECT_FALSE(first.take(both));
  first.limits.countWaiting(both, Counting::GiveBack);
  EXPECT_TRUE(first.take(both));
  int left = 0;
  while (second.take({hourly(10, "a")})) ++left;
  EXPECT_EQ(left, 8);
}

TEST_F(SharedLimits, AForgottenScriptIsLoadedAgainAndKeysRunOut) {
  const web::LimitsOf what{{Bucket::Address, {100}, web::digestKey({"b"})}};
  EXPECT_TRUE(first.take(what));
  EXPECT_TRUE(first.take(what));
  ASSERT_TRUE(first.ask({"SCRIPT", "FLUSH"}).has_value());
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(first.take(what));
  const auto key = first.sisters.key(fmt::format("rate:default:{}", web::textOf(what[0].key)));
  const auto ttl = first.ask({"PTTL", key});
  ASSERT_TRUE(ttl.has_value());
  EXPECT_GT(ttl->integer, 30'000);
  EXPECT_LE(ttl->integer, 60'000);
}

// As the script writes it: how many, and a group of events with the time of the last.
std::string kept(std::uint32_t events, double at) {
  std::string text(16, '\0');
  std::memcpy(text.data(), &events, 4);
  std::memcpy(text.data() + 4, &at, 8);
  std::memcpy(text.data() + 12, &events, 4);
  return text;
}

TEST_F(SharedLimits, AValueThatIsNoneOrOfAnotherDayHarmsNobody) {
  const double now = static_cast<double>(nowMicros());
  for (const auto& [value, left] : std::vector<std::pair<std::string, int>>{{"nonsense", 5},
                                                                            {"99999999999999999", 5},
                                                                            {"1800000000000000", 5},
                                                                            {"", 5},
                                                                            {kept(3, now - 90e6), 5},
                                                                            {kept(3, now - 1e6), 2},
                                                                            {kept(4'000'000'000U, now - 90e6), 5},
                                                                            {kept(3, now + 1e15), 2},
                                                                            {kept(9, std::nan("")), 0}}) {
    const web::LimitsOf what{{Bucket::Address, {5}, web::digestKey({"c", value})}};
    const auto key = first.sisters.key(fmt::format("rate:default:{}", web::textOf(what[0].key)));
    first.ask({"SET", key, value});
    EXPECT_LE(web::retryAfter(first.limits.countWaiting(what, Counting::Look)), 60)
        << "a clock that went back by years";
    int admitted = 0;
    while (second.take(what)) ++admitted;
    EXPECT_EQ(admitted, left) << toHex(value);
  }
}

// Both arithmetics, the same arrivals: the script's clock is Redis's, so a short window and real time.
TEST_F(SharedLimits, InNoWindowDoTwoInstancesAdmitMoreThanTheLimitAndOneMore) {
  using Time = std::chrono::steady_clock::time_point;
  for (const std::int64_t limit : {7, 60}) {
    constexpr auto kWindow = 400ms;
    const web::LimitsOf what{{Bucket::Address, {limit, kWindow}, web::digestKey({"window", std::to_string(limit)})}};
    std::mutex mutex;
    std::vector<std::pair<Time, Time>> admitted;  // asked and answered
    {
      std::vector<std::jthread> threads;
      for (unsigned i = 0; i < 4; ++i)
        threads.emplace_back([&, i, &at = i % 2 == 0 ? first : second] {
          std::mt19937 random(i);
          for (const auto until = std::chrono::steady_clock::now() + 3s; std::chrono::steady_clock::now() < until;) {
            const auto asked = std::chrono::steady_clock::now();
            const bool taken = at.take(what);
            const auto answered = std::chrono::steady_clock::now();
            if (taken && answered < asked + 90ms) {  // a machine that stalls has its instance count alone
              const std::lock_guard lock(mutex);
              admitted.emplace_back(asked, answered);
            }
            if (random() % 40 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
            if (random() % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
          }
        });
    }
    // Those that were surely decided within one window: asked after it began, answered before it ended.
    std::size_t most = 0;
    for (const auto& window : admitted)
      most =
          std::max(most, static_cast<std::size_t>(std::count_if(admitted.begin(), admitted.end(), [&](const auto& one) {
                     return one.first >= window.first && one.second < window.first + kWindow;
                   })));
    EXPECT_LE(most, static_cast<std::size_t>(limit) + 1);
    EXPECT_GE(static_cast<double>(admitted.size()), 3.0 * static_cast<double>(limit)) << "and it does admit";
  }
}

TEST_F(SharedLimits, WhoComesEvenlyAtTheLimitIsNotRefused) {
  constexpr auto kWindow = 1000ms;
  constexpr std::int64_t kLimit = 20;
  const web::LimitsOf what{{Bucket::Address, {kLimit, kWindow}, web::digestKey({"evenly"})}};
  int refused = 0;
  auto next = std::chrono::steady_clock::now();
  for (int i = 0; i < 60; ++i) {
    refused += (i % 2 == 0 ? first : second).take(what) ? 0 : 1;
    // At least so long after the last, as a client waits; a machine that is late does not hurry the next.
    next = std::max(next + kWindow / kLimit + 3ms, std::chrono::steady_clock::now());
    std::this_thread::sleep_until(next);
  }
  EXPECT_LE(refused, 1);
}

TEST_F(SharedLimits, AnEmptiedRedisFillsNoBucket) {
  const auto what = hourly(30, "emptied");
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(first.take({what}) && second.take({what}));
  first.ask({"DEL", first.sisters.key(fmt::format("rate:default:{}", web::textOf(what.key)))});
  int admitted = 0;
  while (admitted < 40 && (admitted % 2 == 0 ? first : second).take({what})) ++admitted;
  EXPECT_EQ(admitted, 10) << "two instances had ten each";
}

TEST_F(SharedLimits, InstancesKnowHowManyTheyAre) {
  first.sisters.beat(R"({"instance": "first"})");
  second.sisters.beat(R"({"instance": "second"})");
  for (int i = 0; i < 500 && first.sisters.alive() < 2; ++i) {
    first.sisters.beat(R"({"instance": "first"})");
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(first.sisters.alive(), 2U);
  second.sisters.stop();
  for (int i = 0; i < 500 && first.sisters.alive() > 1; ++i) {
    first.sisters.beat(R"({"instance": "first"})");
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(first.sisters.instances(), cluster::Instances{R"({"instance": "first"})"});
}

}  // namespace
}  // namespace aragora
