// The limits' script in a real Redis: the same decisions as the arithmetic in this process makes.
#include <future>

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
            {redis::parseUrl(Secret(service("TEST_REDIS"))), prefix, name}, [](const cluster::Hint&) {}, [](bool) {}),
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
  const auto key = first.sisters.key(fmt::format("limit:default:{}", web::textOf(what[0].key)));
  const auto ttl = first.ask({"PTTL", key});
  ASSERT_TRUE(ttl.has_value());
  EXPECT_GT(ttl->integer, 3000) << "seven of them were counted in Redis";
  EXPECT_LE(ttl->integer, 7 * 600);
}

TEST_F(SharedLimits, AValueThatIsNoneOrOfAnotherDayHarmsNobody) {
  const web::LimitsOf what{{Bucket::Address, {60}, web::digestKey({"c"})}};
  const auto key = first.sisters.key(fmt::format("limit:default:{}", web::textOf(what[0].key)));
  first.ask({"SET", key, "99999999999999999"});
  EXPECT_FALSE(first.take(what));
  EXPECT_LE(web::retryAfter(first.limits.countWaiting(what, Counting::Look)), 1) << "a clock that went back by years";
  first.ask({"SET", key, "nonsense"});
  EXPECT_TRUE(second.take(what));
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
