#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
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
  try {
    Site({.url = net::Url::parse(closed).value()}).getElsewhere(net::Url::parse(closed + "/metrics").value());
    ADD_FAILURE() << "it answered";
  } catch (const net::Failure& failure) {
    EXPECT_EQ(std::string(failure.what()).rfind(fmt::format("GET {}/metrics: ", closed), 0), 0U) << failure.what();
    EXPECT_TRUE(failure.portClosed());
  }
  ScriptedServer mute([](Connection& connection) { connection.wait(std::chrono::seconds(5)); });
  const auto late = said({.url = net::Url::parse(mute.url()).value(), .each = std::chrono::milliseconds(100)});
  EXPECT_EQ(late.rfind(fmt::format("no answer from {} (--url): ", mute.url("")), 0), 0U) << late;
  ScriptedServer gone([](Connection& connection) { connection.request(); });
  const auto broken = said({.url = net::Url::parse(gone.url()).value()});
  EXPECT_EQ(broken.rfind(fmt::format("no whole answer from {} (--url): ", gone.url("")), 0), 0U) << broken;
}

struct Says {
  std::string body;
  int status = 200;  // 0: it hangs up
};

// By the method and path of each request.
ScriptedServer::Script answering(std::function<Says(const std::string&)> answer) {
  return [answer](Connection& connection) {
    for (auto request = connection.request(); !request.empty(); request = connection.request()) {
      const auto says = answer(request.substr(0, request.find(" HTTP")));
      if (says.status == 0) return;
      connection.answer(says.body, "", says.status);
    }
  };
}

Seen seenOf(const std::vector<Box>& boxes, std::string_view id) {
  const auto found = std::find_if(boxes.begin(), boxes.end(), [&](const Box& box) { return box.id == id; });
  return found == boxes.end() ? Seen{Outcome::Unverified, "there is no such box"} : found->seen;
}

VisitOptions debateAt(const ScriptedServer& server) {
  return {.site = {.url = net::Url::parse(server.url()).value()}, .extent = Extent::Debate};
}

// As the daemon has it: to cancel only asks for the end, and what is open is not deleted.
TEST(Visit, CancelsATestDebateThatDoesNotEndAndTakesItAwayWhenItDid) {
  for (const bool says_so : {true, false}) {  // or the connection breaks after the cancelling
    const auto id = newUlid();
    const auto path = "/api/debates/" + id;
    std::mutex mutex;
    bool cancelled = false;
    bool ended = false;
    bool gone = false;
    ScriptedServer server(answering([&](const std::string& asked) -> Says {
      const std::lock_guard lock(mutex);
      if (asked == "DELETE " + path) {
        if (!ended) return {R"({"error":"the debate is running"})", 409};
        gone = true;
      }
      if (asked == "POST " + path + "/cancel") {
        cancelled = true;
        ended = !says_so;
        return {"{}", says_so ? 200 : 0};
      }
      if (asked == "GET " + path && gone) return {"{}", 404};
      const auto* open = ended ? "false" : "true";
      if (asked == "GET " + path) ended = cancelled;  // the next time
      return {fmt::format(R"({{"debate_id":"{}","in_progress":{}}})", id, open)};
    }));
    auto options = debateAt(server);
    options.longest_debate = std::chrono::milliseconds(300);
    const auto boxes = visit(options);
    EXPECT_EQ(seenOf(boxes, "debate.completed").outcome, Outcome::Failed);
    EXPECT_EQ(seenOf(boxes, "debate.completed").message, "the debate did not end in time");
    EXPECT_EQ(seenOf(boxes, "debate.deleted").message, "it is gone") << says_so;
  }
}

TEST(Visit, WalksTheChainAlsoWhenASeatDidNotAnswerWhichFails) {
  const auto id = newUlid();
  ScriptedServer server(answering([&](const std::string& asked) -> Says {
    if (asked.find("/events") == std::string::npos)
      return {fmt::format(R"({{"debate_id":"{}","in_progress":false}})", id)};
    return {R"({"events":[{"seq":1,"type":"debate_start","data":{"agents":["a","b"]}},)"
            R"({"seq":2,"type":"agent_message","agent":"a"},{"seq":3,"type":"vote"},{"seq":4,"type":"consensus"},)"
            R"({"seq":5,"type":"debate_end"}]})"};
  }));
  auto options = debateAt(server);
  options.own.chain = [](const std::string&) -> std::size_t { throw Error(Code::Damaged, "the chain is broken"); };
  auto seen = seenOf(visit(options), "debate.events");
  EXPECT_EQ(seen.outcome, Outcome::Failed);
  EXPECT_EQ(seen.message, "the chain is broken");
  options.own.chain = [&](const std::string& debate) -> std::size_t { return debate == id ? 5 : 0; };
  seen = seenOf(visit(options), "debate.events");
  EXPECT_EQ(seen.outcome, Outcome::Failed);
  EXPECT_EQ(seen.message,
            "5 events without a gap, to debate_end; 1 seat answered: a; their chain holds; these did not: b");
}

TEST(Visit, SaysWhereItAskedForASocketThatBroke) {
  ScriptedServer server(answering([](const std::string& asked) -> Says {
    return {"{}", asked == "GET /ws" ? 0 : 200};
  }));
  const auto seen = seenOf(visit(debateAt(server)), "websocket.handshake");
  EXPECT_EQ(seen.outcome, Outcome::Failed);
  EXPECT_EQ(seen.message.rfind(fmt::format("no whole answer from {} (--url): ", server.url("")), 0), 0U)
      << seen.message;
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
