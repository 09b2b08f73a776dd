#include <gtest/gtest.h>

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

TEST(Visit, ShowsNoControlCharacterOfAServer) {
  ScriptedServer server([](Connection& connection) {
    while (!connection.request().empty()) connection.answer("{}", "Access-Control-Allow-Origin: \x1b[2J\r\n");
  });
  for (const auto& box : visit({.site = {.url = net::Url::parse(server.url()).value()}}))
    EXPECT_EQ(box.seen.message.find('\x1b'), std::string::npos) << box.id;
}

}  // namespace
}  // namespace aragora::probe
