#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

#include "common/base/ids.h"
#include "common/probe/visit.h"
#include "tests/unit/scripted_server.h"

namespace aragora::probe {
namespace {

using test::Connection;
using test::ScriptedServer;

// Every answer comes, none of them soon.
TEST(Visit, EndsHoweverManyAnswersAreSlow) {
  ScriptedServer server([](Connection& connection) {
    while (!connection.request().empty() && connection.wait(std::chrono::milliseconds(100)))
      connection.answer(R"({"status":"healthy"})");
  });
  VisitOptions options{.site = {.url = net::Url::parse(server.url()).value()}};
  options.whole = std::chrono::milliseconds(300);
  const auto started = std::chrono::steady_clock::now();
  const auto boxes = visit(options);
  EXPECT_LT(secondsSince(started), 2);
  EXPECT_EQ(boxes.size(), boxesOfVisit().size());
  EXPECT_EQ(boxes.front().seen.outcome, Outcome::Proved);
  EXPECT_EQ(boxes.back().seen.outcome, Outcome::Unverified);
  EXPECT_EQ(boxes.back().seen.message, "what came before took 300 ms");
}

// What was asked, who named it, what happened, and what to do.
TEST(Site, SaysWhatItAskedWhenNobodyAnswers) {
  const auto said = [](SiteOptions options) {
    try {
      Site(std::move(options)).get("/api/health");
      return std::string("it answered");
    } catch (const net::Failure& failure) {
      return fmt::format("{} → {}", failure.what(), failure.hint());
    }
  };
  std::string closed;
  {
    ScriptedServer server([](Connection&) {});
    closed = server.url("");
  }
  const auto nobody = said({.url = net::Url::parse(closed).value(), .named_by = "by PORT"});
  EXPECT_EQ(nobody.rfind(fmt::format("nothing listens at {} (by PORT): ", closed), 0), 0U) << nobody;
  EXPECT_NE(nobody.find("Connection refused → start it: systemctl start aragora"), std::string::npos) << nobody;
  ScriptedServer mute([](Connection& connection) { connection.wait(std::chrono::seconds(5)); });
  const auto late = said({.url = net::Url::parse(mute.url()).value(), .each = std::chrono::milliseconds(100)});
  EXPECT_EQ(late.rfind(fmt::format("no answer from {} (--url): ", mute.url("")), 0), 0U) << late;
  ScriptedServer gone([](Connection& connection) { connection.request(); });
  const auto broken = said({.url = net::Url::parse(gone.url()).value()});
  EXPECT_EQ(broken.rfind(fmt::format("no whole answer from {} (--url): ", gone.url("")), 0), 0U) << broken;
}

TEST(Visit, GivesUpATestDebateThatDoesNotEndAndTakesItAway) {
  const auto id = newUlid();
  std::mutex mutex;
  std::vector<std::string> asked;
  ScriptedServer server([&](Connection& connection) {
    for (auto request = connection.request(); !request.empty(); request = connection.request()) {
      const auto line = request.substr(0, request.find(" HTTP"));
      const std::lock_guard lock(mutex);
      asked.push_back(line);
      connection.answer(fmt::format(R"({{"debate_id":"{}","status":"healthy","in_progress":true}})", id));
    }
  });
  VisitOptions options{.site = {.url = net::Url::parse(server.url()).value()}, .extent = Extent::Debate};
  options.longest_debate = std::chrono::milliseconds(300);
  const auto boxes = visit(options);
  const auto debate =
      std::find_if(boxes.begin(), boxes.end(), [](const Box& box) { return box.id == "debate.completed"; });
  ASSERT_NE(debate, boxes.end());
  EXPECT_EQ(debate->seen.outcome, Outcome::Failed);
  EXPECT_EQ(debate->seen.message, "the debate did not end in time");
  const std::lock_guard lock(mutex);
  for (const auto* wanted : {"POST /api/debates/{}/cancel", "DELETE /api/debates/{}"})
    EXPECT_EQ(std::count(asked.begin(), asked.end(), fmt::format(fmt::runtime(wanted), id)), 1) << wanted;
}

TEST(Visit, ShowsNoControlCharacterOfAServer) {
  ScriptedServer server([](Connection& connection) {
    while (!connection.request().empty()) connection.answer("{}", "Access-Control-Allow-Origin: \x1b[2J\r\n");
  });
  for (const auto& box : visit({.site = {.url = net::Url::parse(server.url()).value()}}))
    EXPECT_EQ(box.seen.message.find('\x1b'), std::string::npos) << box.id;
}

}  // namespace
}  // namespace aragora::probe
