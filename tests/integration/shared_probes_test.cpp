// Leases of probes in a real Redis.
#include "daemon/cluster/shared_probes.h"

#include "common/base/ids.h"
#include "tests/integration/services.h"

namespace aragora {
namespace {

using namespace std::chrono_literals;

struct SharedProbes : testing::Test {
  cluster::Sisters sisters{{redis::parseUrl(Secret(service("TEST_REDIS"))), "test:{" + newUlid() + "}", "first"},
                           [](const cluster::Heard&) {},
                           [](bool) {}};
  cluster::SharedProbes probes{sisters, 10s};
  SharedProbes() { sisters.start(); }
  void awaitConnected() {
    while (sisters.state() != redis::LinkState::Connected) std::this_thread::sleep_for(5ms);
  }
  // In order with what the leases send.
  void say(const redis::Command& command) { ASSERT_TRUE(sisters.link()->send(command, 5s)); }
  std::string key() const { return sisters.key("probe:p"); }
};

TEST_F(SharedProbes, AreOnesUntilItGivesThemBack) {
  EXPECT_FALSE(probes.take("p", "first", 30s));
  const auto held = probes.take("p", "second", 10s);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->by, "first");
  EXPECT_GT(held->left, 20s);
  EXPECT_LE(held->left, 30s);
  EXPECT_FALSE(probes.take("other", "second", 10s)) << "of another provider";
  probes.giveBack("p", "second");
  EXPECT_TRUE(probes.take("p", "third", 10s)) << "it was not that one's";
  probes.giveBack("p", "first");
  EXPECT_FALSE(probes.take("p", "third", 10s));
}

TEST_F(SharedProbes, RunOut) {
  const auto began = std::chrono::steady_clock::now();
  EXPECT_FALSE(probes.take("p", "first", 60ms));
  while (probes.take("p", "second", 10s)) std::this_thread::sleep_for(5ms);
  EXPECT_GE(secondsSince(began), 0.059);
}

TEST_F(SharedProbes, SurviveWhatSomebodyElseWroteThere) {
  say({"SET", key(), std::string(1 << 20, 'x')});
  const auto held = probes.take("p", "first", 10s);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->by, std::string(64, 'x'));
  EXPECT_EQ(held->left, providers::Span::max()) << "whoever asks knows how long a lease may last";
  say({"DEL", key()});
  say({"LPUSH", key(), "a list"});
  EXPECT_FALSE(probes.take("p", "first", 10s));
  probes.giveBack("p", "first");
  say({"DEL", key()});
  say({"SCRIPT", "FLUSH"});
  EXPECT_FALSE(probes.take("p", "first", 10s));
  EXPECT_TRUE(probes.take("p", "second", 10s));
}

TEST_F(SharedProbes, AreNobodysWhereRedisIsSlowOrAway) {
  cluster::SharedProbes impatient(sisters);
  bool first = false;  // before Redis; on a busy machine not each time
  for (int i = 0; i < 10 && !first; ++i) {
    awaitConnected();
    auto answered = std::make_shared<std::atomic<bool>>(false);
    ASSERT_TRUE(sisters.link()->send({"BLPOP", sisters.key("nothing"), "0.4"}, 5s,
                                     [answered](const redis::Reply*) { *answered = true; }));
    EXPECT_FALSE(impatient.take("p", "first", 10s));
    first = !*answered;
    impatient.giveBack("p", "first");  // behind the taking, which is still to be done
    while (!*answered) std::this_thread::sleep_for(5ms);
  }
  EXPECT_TRUE(first);
  awaitConnected();
  EXPECT_FALSE(probes.take("p", "second", 10s));
  const auto held = probes.take("p", "third", 10s);
  ASSERT_TRUE(held);
  EXPECT_EQ(held->by, "second");
  sisters.stop();
  EXPECT_FALSE(probes.take("p", "third", 10s));
  probes.giveBack("p", "second");
}

}  // namespace
}  // namespace aragora
