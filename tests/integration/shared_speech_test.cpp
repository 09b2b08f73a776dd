// Parts of answers over a real Redis: from the instance that runs a debate to those that listen.
#include "daemon/cluster/shared_speech.h"

#include "tests/integration/services.h"

namespace aragora {
namespace {

using namespace std::chrono_literals;
using wire::Delta;

struct Speaking {
  Speaking(const std::string& prefix, const std::string& name, const std::string& key_hex)
      : keyring(Secret(key_hex)),
        sisters(
            {redis::parseUrl(Secret(service("TEST_REDIS"))), prefix, name},
            [this](const cluster::Heard& said) {
              if (said.hint.kind != cluster::HintKind::Listen) return;
              speech.asked(said.hint.debate_id, said.instance);
              ++asked;
            },
            [](bool) {},
            [this](const std::string& line) {
              speech.heard(line);
              const std::lock_guard lock(mutex);
              lines.push_back(line);
            }),
        speech(sisters, {keyring, name,
                         [this] {
                           const std::lock_guard lock(mutex);
                           ++looked;
                           return listened;
                         },
                         [this](const std::string&) { return runs.load(); },
                         [this](const Delta& delta) {
                           const std::lock_guard lock(mutex);
                           text += delta.kind == Delta::Kind::End ? "." : delta.text;
                         },
                         registry.counter("aragora_redis_deltas_lost_total")}) {
    sisters.start();
    EXPECT_EQ(sisters.state(), redis::LinkState::Connected);
    speech.start();
  }
  ~Speaking() {
    speech.stop();
    sisters.stop();
  }
  void listenTo(const std::vector<std::string>& ids) {
    const std::lock_guard lock(mutex);
    listened = ids;
  }
  std::string heard() {
    const std::lock_guard lock(mutex);
    return text;
  }
  std::vector<std::string> came() {
    const std::lock_guard lock(mutex);
    return lines;
  }
  bool lostNothing() { return registry.expose().find("aragora_redis_deltas_lost_total 0\n") != std::string::npos; }

  crypto::Keyring keyring;
  metrics::Registry registry;
  std::atomic<bool> runs{false};
  std::atomic<int> asked{0};   // by others
  std::atomic<int> looked{0};  // at what is listened to
  std::mutex mutex;
  std::vector<std::string> listened;
  std::string text;  // that was heard
  std::vector<std::string> lines;
  cluster::Sisters sisters;
  cluster::SharedSpeech speech;
};

template <typename Condition>
bool within(std::chrono::milliseconds limit, const Condition& condition) {
  for (const auto until = deadlineIn(limit); !condition(); std::this_thread::sleep_for(2ms)) {
    if (remaining(until).count() == 0) return false;
  }
  return true;
}

struct SharedSpeech : testing::Test {
  std::string prefix = "test:{" + newUlid() + "}";
  std::string debate = newUlid();
  Speaking here{prefix, "here", std::string(64, 'a')};
  Speaking there{prefix, "there", std::string(64, 'a')};
  Speaking stranger{prefix, "stranger", std::string(64, 'b')};  // on the same Redis, without the key

  Delta part(std::int64_t offset, std::string text, Delta::Kind kind = Delta::Kind::Text) const {
    Delta delta;
    delta.debate_id = debate;
    delta.agent = "demo";
    delta.offset = offset;
    delta.text = std::move(text);
    delta.kind = kind;
    delta.at = nowMicros();
    return delta;
  }
};

TEST_F(SharedSpeech, ReachesThoseThatAskedInOrderAndNobodyElse) {
  here.speech.speak(part(0, "nobody listens yet"));
  there.listenTo({debate});
  there.speech.listen(debate);
  ASSERT_TRUE(within(10s, [&] { return here.asked > 0; }));
  std::string said;
  for (int i = 0; i < 200; ++i) {
    const auto word = fmt::format("wörd{} ", i);
    here.speech.speak(part(wire::characters(said), word));
    said += word;
    if (i % 20 == 0) std::this_thread::sleep_for(10ms);
  }
  here.speech.speak(part(wire::characters(said), "", Delta::Kind::End));
  EXPECT_TRUE(within(10s, [&] { return there.heard() == said + "."; })) << there.heard();
  const auto lines = there.came();
  EXPECT_LT(lines.size(), 40U) << "what came within 25 ms went together";
  for (const auto& line : lines) EXPECT_EQ(line.find("rd1 "), std::string::npos) << "readable";
  EXPECT_EQ(here.heard() + stranger.heard(), "");
  EXPECT_TRUE(here.came().empty()) << "nobody forwards what was said elsewhere";
  EXPECT_TRUE(here.lostNothing() && there.lostNothing());
}

TEST_F(SharedSpeech, IsHeardOnceAndFromNobodyWithoutTheKey) {
  for (auto* one : {&there, &stranger}) {
    one->listenTo({debate});
    one->speech.listen(debate);
  }
  ASSERT_TRUE(within(10s, [&] { return here.asked > 1 && stranger.asked > 0; }));
  here.speech.speak(part(0, "once "));
  ASSERT_TRUE(within(10s, [&] { return !there.came().empty() && !stranger.came().empty(); }));
  there.speech.heard(there.came().front());
  there.speech.heard("nonsense");
  EXPECT_TRUE(there.lostNothing());
  there.speech.heard(stranger.came().front());
  EXPECT_FALSE(there.lostNothing()) << "what does not open is counted";
  EXPECT_EQ(there.heard(), "once ");
  EXPECT_EQ(stranger.heard(), "");
  stranger.speech.speak(part(5, "forged"));
  ASSERT_TRUE(within(10s, [&] { return there.came().size() > 1; }));
  here.speech.speak(part(5, "more"));
  EXPECT_TRUE(within(10s, [&] { return there.heard() == "once more"; })) << there.heard();
}

TEST_F(SharedSpeech, IsAskedForWhileSomebodyListensAndOfWhatRunsElsewhereOnly) {
  const auto look = [this] {
    const int before = there.looked;
    there.speech.askAgain();
    return within(10s, [&] { return there.looked > before; });
  };
  there.runs = true;
  there.listenTo({debate, "what is no id", newUlid()});
  there.speech.listen(debate);
  ASSERT_TRUE(look());
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(here.asked, 0);
  there.runs = false;
  ASSERT_TRUE(look());
  EXPECT_TRUE(within(10s, [&] { return here.asked == 2; })) << here.asked;
  there.listenTo({});
  ASSERT_TRUE(look());
  here.speech.speak(part(0, "nobody listens any more"));
  ASSERT_TRUE(within(10s, [&] { return !there.came().empty(); }));
  EXPECT_EQ(there.heard(), "");
}

TEST_F(SharedSpeech, IsLostAndCountedWithoutRedisAndNobodyWaits) {
  there.listenTo({debate});
  there.speech.listen(debate);
  ASSERT_TRUE(within(10s, [&] { return here.asked > 0; }));
  here.sisters.stop();
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) here.speech.speak(part(2 * i, "x "));
  EXPECT_LT(secondsSince(began), 1);
  EXPECT_TRUE(within(10s, [&] { return !here.lostNothing(); }));
  EXPECT_EQ(there.heard(), "");
}

}  // namespace
}  // namespace aragora
