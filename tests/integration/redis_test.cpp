// The daemon's connection to a real Redis: many commands at once, what is late, what is lost, and listening.
#include <future>
#include <latch>

#include "common/redis/client.h"
#include "common/redis/link.h"
#include "tests/integration/services.h"
#include "tests/unit/scripted_server.h"

namespace aragora {
namespace {

using namespace std::chrono_literals;
using redis::Link;
using redis::LinkState;
using redis::Reply;

redis::LinkOptions server() {
  redis::LinkOptions options;
  options.address = redis::parseUrl(Secret(service("TEST_REDIS")));
  return options;
}

template <typename Condition>
bool eventually(const Condition& condition, std::chrono::milliseconds limit = 10s) {
  const auto until = deadlineIn(limit);
  while (!condition()) {
    if (remaining(until).count() == 0) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

// Sends, and waits for what comes; nullopt when nothing does.
std::optional<Reply> ask(Link& link, const redis::Command& command, std::chrono::milliseconds within = 5s) {
  auto answered = std::make_shared<std::promise<std::optional<Reply>>>();
  auto future = answered->get_future();
  if (!link.send(command, within, [answered](const Reply* reply) {
        answered->set_value(reply != nullptr ? std::optional(*reply) : std::nullopt);
      }))
    return std::nullopt;
  return future.get();
}

struct Connected {
  Link link;
  explicit Connected(redis::LinkOptions options = server()) : link(std::move(options)) {
    link.start();
    link.awaitFirstAttempt(5s);
    EXPECT_EQ(link.state(), LinkState::Connected);
  }
};

TEST(Link, AnswersOfManyThreadsComeBackToThoseWhoAsked) {
  Connected connected;
  std::atomic<int> right{0};
  std::latch done(4 * 1000);
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 1000; ++i) {
        const auto text = fmt::format("{}-{}", thread, i);
        EXPECT_TRUE(connected.link.send({"ECHO", text}, 10s, [&, text](const Reply* reply) {
          if (reply != nullptr && reply->text == text) ++right;
          done.count_down();
        }));
      }
    });
  }
  done.wait();
  EXPECT_EQ(right, 4000);
}

TEST(Link, WhatIsLateIsToldSoAndTheAnswersBehindItStillFit) {
  Connected connected;
  const auto started = std::chrono::steady_clock::now();
  std::optional<Reply> late = Reply{};
  std::jthread asking([&] { late = ask(connected.link, {"BLPOP", "test:" + newUlid(), "0.4"}, 120ms); });
  asking.join();
  EXPECT_FALSE(late.has_value());
  EXPECT_LT(secondsSince(started), 0.35) << "it waited for the answer";
  EXPECT_EQ(connected.link.state(), LinkState::Slow);
  EXPECT_TRUE(eventually([&] { return connected.link.state() == LinkState::Connected; }, 3s));
  const auto echoed = ask(connected.link, {"ECHO", "behind"});
  ASSERT_TRUE(echoed.has_value());
  EXPECT_EQ(echoed->text, "behind");
}

TEST(Link, WithoutAnyAnswerItIsLostAndOpenedAnew) {
  auto options = server();
  options.silence = 300ms;
  Connected connected(options);
  EXPECT_FALSE(ask(connected.link, {"BLPOP", "test:" + newUlid(), "30"}, 30s).has_value()) << "told at the loss";
  EXPECT_TRUE(eventually([&] { return ask(connected.link, {"ECHO", "x"}).has_value(); }));
}

TEST(Link, AKilledConnectionIsOpenedAnewWithinASecond) {
  std::mutex mutex;
  std::vector<LinkState> states;
  Link link(server(), [&](LinkState state, const std::string&) {
    const std::lock_guard lock(mutex);
    states.push_back(state);
  });
  link.start();
  link.awaitFirstAttempt(5s);
  const auto id = ask(link, {"CLIENT", "ID"});
  ASSERT_TRUE(id.has_value());
  std::this_thread::sleep_for(600ms);  // what ends at once has to prove itself the next time
  redis::Client other(Secret(service("TEST_REDIS")), 5s);
  other.command({"CLIENT", "KILL", "ID", fmt::format("{}", id->integer)});
  const auto started = std::chrono::steady_clock::now();
  EXPECT_TRUE(eventually([&] {
    const auto now = ask(link, {"CLIENT", "ID"});
    return now && now->integer != id->integer;
  }));
  EXPECT_LT(secondsSince(started), 1);
  link.stop();
  EXPECT_EQ(states, (std::vector{LinkState::Connected, LinkState::Away, LinkState::Connected, LinkState::Away}))
      << "once a change";
}

TEST(Link, RefusesAtOnceWhatHasNoRoomOrNoConnection) {
  auto options = server();
  options.most_waiting = 10;
  Connected connected(options);
  connected.link.send({"BLPOP", "test:" + newUlid(), "0.3"}, 5s);
  int accepted = 0;
  for (int i = 0; i < 100; ++i) accepted += connected.link.send({"PING"}, 5s) ? 1 : 0;
  EXPECT_LE(accepted, 10);
  connected.link.stop();
  EXPECT_FALSE(connected.link.send({"PING"}, 5s));
}

TEST(Link, EveryCommandIsToldOfAStopExactlyOnceAndQuickly) {
  Connected connected;
  std::atomic<int> told{0};
  for (int i = 0; i < 50; ++i)
    EXPECT_TRUE(connected.link.send({"BLPOP", "test:" + newUlid(), "5"}, 30s, [&](const Reply*) { ++told; }));
  const auto started = std::chrono::steady_clock::now();
  connected.link.stop();
  EXPECT_LT(secondsSince(started), 0.1 + 0.4) << "a busy machine";
  EXPECT_EQ(told, 50);
}

TEST(Link, AWrongPasswordIsToldAndTriedAgain) {
  auto options = server();
  options.address.password = Secret("not-the-password");
  std::mutex mutex;
  std::string told;
  Link link(options, [&](LinkState, const std::string& reason) {
    const std::lock_guard lock(mutex);
    told += reason;
  });
  link.start();
  link.awaitFirstAttempt(5s);
  EXPECT_EQ(link.state(), LinkState::Away);
  link.stop();
  EXPECT_NE(told.find("refused the password"), std::string::npos) << told;
  EXPECT_EQ(told.find("not-the-password"), std::string::npos);
}

TEST(Link, HearsWhatIsPublishedOnItsChannelsOnly) {
  auto options = server();
  const auto channel = "test:" + newUlid();
  options.channels = {channel, channel + ":own"};
  std::mutex mutex;
  std::vector<std::string> heard;
  Link listening(options, {}, [&](const std::string& payload) {
    const std::lock_guard lock(mutex);
    heard.push_back(payload);
  });
  listening.start();
  listening.awaitFirstAttempt(5s);
  ASSERT_EQ(listening.state(), LinkState::Connected);
  Connected speaking;
  ask(speaking.link, {"PUBLISH", channel + ":other", "no"});
  for (int i = 0; i < 100; ++i)
    speaking.link.send({"PUBLISH", i % 2 == 0 ? channel : channel + ":own", fmt::format("{}", i)}, 5s);
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return heard.size() == 100;
  }));
  const std::lock_guard lock(mutex);
  EXPECT_EQ(heard.front(), "0");
  EXPECT_EQ(heard.back(), "99");
}

// A busy channel speaks before the next one is confirmed.
TEST(Link, MessagesBetweenConfirmationsAreHeardAndBreakNothing) {
  const auto array = [](const std::vector<std::string>& parts, const std::string& last) {
    auto text = fmt::format("*{}\r\n", parts.size() + 1);
    for (const auto& part : parts) text += fmt::format("${}\r\n{}\r\n", part.size(), part);
    return text + last;
  };
  test::ScriptedServer busy([&](test::Connection& connection) {
    connection.say(array({"subscribe", "one"}, ":1\r\n") + array({"message", "one"}, "$5\r\nfirst\r\n") +
                   array({"subscribe", "two"}, ":2\r\n") + array({"message", "two"}, "$6\r\nsecond\r\n"));
    connection.hold();
  });
  redis::LinkOptions options;
  options.address = redis::parseUrl(Secret(fmt::format("redis://127.0.0.1:{}", busy.port())));
  options.channels = {"one", "two"};
  std::mutex mutex;
  std::vector<std::string> heard;
  Link link(options, {}, [&](const std::string& payload) {
    const std::lock_guard lock(mutex);
    heard.push_back(payload);
  });
  link.start();
  link.awaitFirstAttempt(5s);
  EXPECT_EQ(link.state(), LinkState::Connected);
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(mutex);
    return heard.size() >= 2;
  }));
  EXPECT_EQ(busy.connections(), 1);
  const std::lock_guard lock(mutex);
  EXPECT_EQ(heard, (std::vector<std::string>{"first", "second"}));
}

TEST(RedisUrl, SaysEveryFormAndNeverQuotesAPassword) {
  const auto socket = redis::parseUrl(Secret("unix:/run/redis/redis.sock?db=3"));
  EXPECT_EQ(socket.path, "/run/redis/redis.sock");
  EXPECT_EQ(socket.database, 3);
  EXPECT_EQ(socket.text(), "unix:/run/redis/redis.sock");
  const auto with_user = redis::parseUrl(Secret("unix://me:p%40ss@/run/redis.sock"));
  EXPECT_EQ(with_user.user, "me");
  EXPECT_EQ(with_user.password.reveal(), "p@ss");
  const auto tls = redis::parseUrl(Secret("rediss://:pw@[::1]:6380/2"));
  EXPECT_TRUE(tls.tls);
  EXPECT_EQ(tls.text(), "[::1]:6380");
  EXPECT_EQ(tls.database, 2);
  for (const auto* bad : {"unix:", "unix:relative", "unix://host/run/x", "redis:///0", "http://:canary@h",
                          "redis://h/x", "redis://h/1?db=2", "unix:/x?timeout=3"}) {
    try {
      redis::parseUrl(Secret(bad));
      ADD_FAILURE() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Config) << bad;
      EXPECT_EQ(std::string(error.what()).find("canary"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace aragora
