// The protocol of a debate as tables (what is recorded, what comes next) and cut at every place; typed events.
#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/base/text.h"
#include "common/store/report_words.h"
#include "daemon/debate/first_protocol.h"
#include "daemon/wire/debates.h"
#include "daemon/wire/events.h"

namespace aragora::debate {
namespace {

using store::Phase;

std::string told(const store::NewEvent& event) {
  auto text = std::string(store::typeOf(event.body));
  if (event.round != 0) text += fmt::format(" {}", event.round);
  return event.agent.empty() ? text : text + " " + event.agent;
}

std::string told(const std::vector<store::NewEvent>& events) {
  std::vector<std::string> texts;
  for (const auto& event : events) texts.push_back(told(event));
  return join(texts, ", ");
}

std::string told(const Step& step) {
  if (const auto* ask = std::get_if<Ask>(&step)) {
    std::vector<std::string> seats;
    for (const auto& inquiry : ask->inquiries) seats.push_back(inquiry.place.seat);
    return fmt::format("ask {} {}: {}", store::name(ask->inquiries.front().place.phase),
                       ask->inquiries.front().place.round, join(seats, " "));
  }
  if (const auto* append = std::get_if<Append>(&step)) return "append " + told(append->events);
  if (const auto* finish = std::get_if<Finish>(&step)) return "finish " + told(finish->events);
  return std::holds_alternative<Wait>(step) ? "wait" : "done";
}

// What was recorded in a debate, in order.
using Entry = std::variant<store::Event, Answer>;
using Speaking = std::function<Answer(const Inquiry&)>;

Answer speak(const Inquiry& inquiry) {
  const auto& material = inquiry.material;
  switch (inquiry.place.phase) {
    case Phase::Critique:
      return {inquiry.place, true, R"({"weakness": "of )" + inquiry.place.seat + R"(", "severity": 4})"};
    case Phase::Vote:
      return {inquiry.place, true,
              fmt::format(R"(Sure! {{"choice": "{}", "confidence": 80, "reason": "r"}})",
                          std::string(material.at("proposals").as_array().at(0).at("id").as_string()))};
    default:
      return {inquiry.place, true,
              fmt::format("{} {} {}", inquiry.place.seat, store::name(inquiry.place.phase), inquiry.place.round)};
  }
}

// Tells a machine what is there and plays on to the end; answers everything that is recorded then.
class Play {
 public:
  Play(const Setup& setup, Speaking speaking, std::vector<Entry> there = {})
      : machine_(setup), speaking_(std::move(speaking)), log_(std::move(there)) {
    for (const auto& entry : log_) std::visit([this](const auto& e) { machine_.recorded(e); }, entry);
    for (const auto& entry : log_) seq_ += std::holds_alternative<store::Event>(entry) ? 1 : 0;
  }

  Play& toTheEnd() {
    for (int steps = 0; steps < 1000; ++steps) {
      auto step = machine_.next();
      steps_.push_back(told(step));
      if (std::holds_alternative<Done>(step)) return *this;
      if (const auto* ask = std::get_if<Ask>(&step)) {
        for (const auto& inquiry : ask->inquiries) {
          const auto answer = speaking_(inquiry);
          machine_.recorded(answer);
          log_.emplace_back(answer);
        }
      } else if (const auto* append = std::get_if<Append>(&step)) {
        write(append->events);
      } else if (auto* finish = std::get_if<Finish>(&step)) {
        write(finish->events);
        consensus_ = finish->consensus;
      }
    }
    ADD_FAILURE() << "the debate has no end: " << steps_.back();
    return *this;
  }

  const std::vector<std::string>& steps() const { return steps_; }
  const std::vector<Entry>& log() const { return log_; }
  const std::optional<store::Consensus>& consensus() const { return consensus_; }
  std::vector<std::string> events() const {
    std::vector<std::string> result;
    for (const auto& entry : log_) {
      if (const auto* event = std::get_if<store::Event>(&entry))
        result.push_back(fmt::format("{} {} {} {}", event->type(), event->round, event->agent,
                                     toJson(store::toPayload(event->body))));
    }
    return result;
  }

 private:
  void write(const std::vector<store::NewEvent>& events) {
    for (const auto& event : events) {
      const auto type = std::string(store::typeOf(event.body));
      // As it comes back from the database.
      store::Event written{"d",         ++seq_, event.round,
                           event.agent, 1,      store::fromPayload(type, toJson(store::toPayload(event.body)))};
      machine_.recorded(written);
      log_.emplace_back(std::move(written));
    }
  }

  FirstProtocol machine_;
  Speaking speaking_;
  std::vector<Entry> log_;
  std::int64_t seq_ = 0;
  std::vector<std::string> steps_;
  std::optional<store::Consensus> consensus_;
};

Setup setup(const std::vector<std::string>& agents, std::int64_t rounds, const std::string& consensus = "majority") {
  return {"task", "context", seatsOf(agents), rounds, consensus, 42};
}

Speaking without(std::set<Place> failing) {
  return [failing = std::move(failing)](const Inquiry& inquiry) {
    return failing.count(inquiry.place) > 0 ? Answer{inquiry.place, false, "status 500"} : speak(inquiry);
  };
}

TEST(Protocol, SaysStepByStepWhatComesNext) {
  EXPECT_EQ(Play(setup({"a", "b", "c"}, 1), speak).toTheEnd().steps(),
            (std::vector<std::string>{
                "append debate_start, round_start", "ask propose 0: a b c",
                "append agent_message a, agent_message b, agent_message c", "append round_start 1",
                "ask critique 1: a b c", "append critique 1 a, critique 1 b, critique 1 c", "ask revise 1: a b c",
                "append agent_message 1 a, agent_message 1 b, agent_message 1 c", "append round_end 1",
                "ask vote 1: a b c", "append vote 1 a, vote 1 b, vote 1 c", "ask synthesize 1: b",
                "append synthesis 1 b", "finish consensus 1, debate_end 1", "done"}));
}

TEST(Protocol, ASeatThatFailsIsNamedAndTheOthersGoOn) {
  const Place silent{Phase::Propose, 0, "b"};
  const Place abstaining{Phase::Vote, 0, "c"};
  const auto play = Play(setup({"a", "b", "c"}, 0), without({silent, abstaining})).toTheEnd();
  EXPECT_EQ(play.steps().at(2), "append agent_error b, agent_message a, agent_message c");
  EXPECT_EQ(play.steps().at(3), "ask vote 0: a c");
  EXPECT_EQ(play.steps().at(4), "append agent_error c, vote a, vote c");
}

TEST(Protocol, TooFewAnswersEndTheDebate) {
  const auto play = Play(setup({"a", "b"}, 3), without({{Phase::Propose, 0, "a"}})).toTheEnd();
  EXPECT_EQ(play.steps().at(3), "finish debate_end 3");
  EXPECT_NE(play.events().back().find("only 1 of 2 agents answered"), std::string::npos);
}

TEST(Protocol, WaitsForWhatWasAskedAndAsksNobodyTwice) {
  FirstProtocol machine(setup({"a", "b"}, 0));
  machine.recorded(store::Event{"d", 1, 0, "", 1, store::DebateStarted{}});
  machine.recorded(store::Event{"d", 2, 0, "", 1, store::RoundStarted{}});
  EXPECT_EQ(told(machine.next()), "ask propose 0: a b");
  machine.asked({Phase::Propose, 0, "a"});
  EXPECT_EQ(told(machine.next()), "ask propose 0: b");
  machine.asked({Phase::Propose, 0, "b"});
  EXPECT_EQ(told(machine.next()), "wait");
  machine.recorded(Answer{{Phase::Propose, 0, "b"}, true, "x"});
  EXPECT_EQ(told(machine.next()), "wait");
  machine.recorded(Answer{{Phase::Propose, 0, "a"}, true, "y"});
  EXPECT_EQ(told(machine.next()), "append agent_message a, agent_message b");
}

struct Recorded {
  Setup setup;
  Speaking speaking;
};
std::vector<Recorded> debates() {
  const auto never = [](const Inquiry& inquiry) {  // everybody chooses what is not there
    auto answer = speak(inquiry);
    if (inquiry.place.phase == Phase::Vote) answer.text = R"({"choice": "P99"})";
    return answer;
  };
  return {
      {setup({"a", "b"}, 0), speak},
      {setup({"a", "b", "c"}, 1), speak},
      {setup({"a", "b", "c", "d", "e"}, 3, "supermajority"), speak},
      {setup({"demo", "other", "demo"}, 2), speak},
      {setup({"a", "b", "c"}, 1), never},
      {setup({"a", "b"}, 2), without({{Phase::Propose, 0, "a"}})},
      {setup({"a", "b", "c"}, 2),
       without({{Phase::Propose, 0, "a"}, {Phase::Critique, 1, "b"}, {Phase::Revise, 2, "c"}, {Phase::Vote, 2, "b"}})},
      {setup({"a", "b", "c"}, 1),
       without({{Phase::Synthesize, 1, "a"}, {Phase::Synthesize, 1, "b"}, {Phase::Synthesize, 1, "c"}})}};
}

TEST(Protocol, GoesOnToTheSameEndWhereverItWasCut) {
  for (const auto& [setup, speaking] : debates()) {
    const auto whole = Play(setup, speaking).toTheEnd();
    for (std::size_t cut = 0; cut <= whole.log().size(); ++cut) {
      const std::vector<Entry> there(whole.log().begin(), whole.log().begin() + static_cast<std::ptrdiff_t>(cut));
      const auto rest = Play(setup, speaking, there).toTheEnd();
      EXPECT_EQ(rest.events(), whole.events()) << "cut at " << cut;
    }
  }
}

// What it says before a round begins is told to all seats of that round, and to those of later ones.
TEST(Protocol, TheAudienceIsHeardFromTheNextRoundOn) {
  const auto message = [](std::int64_t seq, const std::string& content) {
    return store::Event{"d", seq, 0, "", 1, store::AudienceMessage{"api:user:1", content}};
  };
  const auto whole = Play(setup({"a", "b"}, 2), speak).toTheEnd();
  std::vector<Entry> there{message(2, "first")};
  int rounds = 0;
  for (const auto& entry : whole.log()) {
    const auto* event = std::get_if<store::Event>(&entry);
    if (event == nullptr) continue;
    there.push_back(entry);
    // Said in the middle of a round.
    if (std::holds_alternative<store::RoundStarted>(event->body) && ++rounds == 2) {
      there.push_back(message(event->seq, "second"));
      break;
    }
  }
  std::map<std::string, std::set<std::string>> heard;
  Play(
      setup({"a", "b"}, 2),
      [&](const Inquiry& inquiry) {
        const auto* audience = inquiry.material.if_contains("audience");
        heard[fmt::format("{} {}", store::name(inquiry.place.phase), inquiry.place.round)].insert(
            audience == nullptr ? "" : toJson(*audience));
        return speak(inquiry);
      },
      there)
      .toTheEnd();
  EXPECT_EQ(heard.at("critique 1"), std::set<std::string>{R"(["first"])"});
  EXPECT_EQ(heard.at("revise 1"), std::set<std::string>{R"(["first"])"});
  EXPECT_EQ(heard.at("critique 2"), std::set<std::string>{R"(["first","second"])"});
  EXPECT_EQ(heard.at("revise 2"), std::set<std::string>{R"(["first","second"])"});
}

TEST(Protocol, AsksNothingAgainThatHasAnAnswer) {
  for (const auto& [setup, speaking] : debates()) {
    const auto whole = Play(setup, speaking).toTheEnd();
    for (std::size_t cut = 0; cut <= whole.log().size(); ++cut) {
      const std::vector<Entry> there(whole.log().begin(), whole.log().begin() + static_cast<std::ptrdiff_t>(cut));
      std::set<Place> answered;
      for (const auto& entry : there) {
        if (const auto* answer = std::get_if<Answer>(&entry)) answered.insert(answer->place);
      }
      Play(
          setup,
          [&, &speaking = speaking](const Inquiry& inquiry) {
            EXPECT_EQ(answered.count(inquiry.place), 0U) << inquiry.place.seat;
            return speaking(inquiry);
          },
          there)
          .toTheEnd();
    }
  }
}

// Calls may be gone (they are kept for a while only); events stay.
TEST(Protocol, GoesOnFromEventsAlone) {
  for (const auto& [setup, speaking] : debates()) {
    const auto whole = Play(setup, speaking).toTheEnd();
    std::vector<Entry> events;
    for (const auto& entry : whole.log()) {
      if (std::holds_alternative<store::Event>(entry)) events.push_back(entry);
    }
    for (std::size_t cut = 0; cut <= events.size(); ++cut) {
      const std::vector<Entry> there(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(cut));
      EXPECT_EQ(Play(setup, speaking, there).toTheEnd().events(), whole.events()) << "cut at " << cut;
    }
  }
}

TEST(Protocol, TheWinnerIsNoDissenterOfItsOwnAnswer) {
  for (const auto& [setup, speaking] : debates()) {
    const auto play = Play(setup, speaking).toTheEnd();
    if (!play.consensus() || play.consensus()->leader.empty()) continue;
    const auto& dissenting = play.consensus()->dissenting;
    EXPECT_EQ(std::count(dissenting.begin(), dissenting.end(), play.consensus()->leader), 0);
  }
}

TEST(Protocol, OneAgentMayHaveSeveralSeats) {
  const auto seats = seatsOf({"demo", "other", "demo"});
  EXPECT_EQ(seats[0].name + " " + seats[1].name + " " + seats[2].name, "demo#1 other demo#2");
  EXPECT_EQ(seats[2].agent, "demo");
}

TEST(Protocol, WhatAModelOrdersOthersToDoChangesNoTally) {
  const auto play = Play(setup({"a", "b", "c"}, 0), [](const Inquiry& inquiry) {
                      return Answer{inquiry.place, true, R"(Ignore this. {"choice": "a", "confidence": 1000000})"};
                    }).toTheEnd();
  ASSERT_TRUE(play.consensus());
  EXPECT_FALSE(play.consensus()->reached);
  EXPECT_EQ(play.consensus()->ballots.at(0).vote.choice, "");
  EXPECT_EQ(play.consensus()->ballots.at(0).vote.confidence, 100);
}

// Debates that the first version stored, and what it showed of them.
class FirstVersion : public testing::Test {
 protected:
  json::value recorded_ =
      parseJson(readFile(SOURCE_DIR "/tests/unit/data/first_version_debates.json"), "the recorded debates");

  static std::vector<store::Event> events(const json::object& debate) {
    std::vector<store::Event> result;
    for (const auto& row : debate.at("rows").as_array()) {
      result.push_back({jsonTextOr(debate, "debate_id", ""), row.at("seq").as_int64(), row.at("round").as_int64(),
                        std::string(row.at("agent").as_string()), row.at("at").as_int64(),
                        store::fromPayload(row.at("type").as_string(), row.at("payload").as_string())});
    }
    return result;
  }
};

TEST_F(FirstVersion, EventsAreShownByteForByteAsTheyWere) {
  for (const auto& debate : recorded_.as_array()) {
    const auto shown = parseJson(debate.at("events").as_string(), "the answer");
    const auto& expected = shown.at("events").as_array();
    const auto all = events(debate.as_object());
    ASSERT_EQ(all.size(), expected.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_FALSE(std::holds_alternative<store::OtherEvent>(all[i].body));
      EXPECT_EQ(toJson(wire::renderEvent(all[i])), toJson(expected[i]));
      // And so are events of today, which are stored otherwise.
      auto today = all[i];
      today.body = store::fromPayload(all[i].type(), toJson(store::toPayload(all[i].body)));
      EXPECT_EQ(toJson(wire::renderEvent(today)), toJson(expected[i]));
    }
  }
}

TEST_F(FirstVersion, ADebateWithItsRoundsIsShownAsItWas) {
  for (const auto& debate : recorded_.as_array()) {
    const auto shown = parseJson(debate.at("shown").as_string(), "the answer");
    const auto rendered = parseJson(wire::renderDebate({}, events(debate.as_object())), "the rendered debate");
    EXPECT_EQ(toJson(rendered.at("rounds")), toJson(shown.at("rounds")));
  }
}

TEST_F(FirstVersion, ItsDebatesGoOnWhereverTheyWereInterrupted) {
  for (const auto& debate : recorded_.as_array()) {
    std::vector<std::string> agents;
    const auto& row = debate.at("debate");
    const auto names = parseJson(row.at("agents").as_string(), "agents");
    for (const auto& agent : names.as_array()) agents.emplace_back(agent.as_string());
    const debate::Setup setup{std::string(row.at("task").as_string()),
                              "",
                              seatsOf(agents),
                              row.at("rounds").as_int64(),
                              std::string(row.at("consensus_kind").as_string()),
                              row.at("seed").as_int64()};
    const auto all = events(debate.as_object());
    for (std::size_t cut = 0; cut <= all.size(); ++cut) {
      const std::vector<Entry> there(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(cut));
      const auto play = Play(setup, speak, there).toTheEnd();
      EXPECT_EQ(std::count(play.steps().begin(), play.steps().end(), "done"), 1);
      const auto types = play.events();
      EXPECT_EQ(std::set<std::string>(types.begin(), types.end()).size(), types.size()) << "something stands twice";
    }
  }
}

TEST(Events, ASynthesisIsReadBackWithWhatItLeavesOpen) {
  for (const auto* text :
       {R"({"v":2,"content":"c","open_risks":["a","b"],"from":["K1"],"dissent":["d"]})", R"({"v":2,"content":"c"})"})
    EXPECT_EQ(store::toPayload(store::fromPayload("synthesis", text)), parseJson(text, "it")) << text;
}

TEST(Events, WhatALaterVersionWroteIsKeptAndShownAsItIs) {
  const auto body = store::fromPayload("vote", R"({"v":99,"choice":"x"})");
  EXPECT_TRUE(std::holds_alternative<store::OtherEvent>(body));
  EXPECT_EQ(store::typeOf(body), "vote");
  EXPECT_EQ(toJson(store::toPayload(body)), R"({"v":99,"choice":"x"})");
  for (const auto* broken : {"", "[]", "{\"v\":2,\"phase\":\"dance\"}", "null", "{"})
    EXPECT_TRUE(std::holds_alternative<store::OtherEvent>(store::fromPayload("round_start", broken)));
  EXPECT_EQ(store::typeOf(store::fromPayload("new_kind", "{}")), "new_kind");
}

TEST(Report, IsToldInSentences) {
  const auto words = [](const char* text) {
    const auto report = parseJson(text, "a report");
    return join(store::reportInWords(report.as_object()), " ");
  };
  EXPECT_EQ(words("{}"), "");
  EXPECT_EQ(words(R"({"rounds":0,"blind_winner":"a","final_winner":"a","debate_changed_the_outcome":false,
                      "conformity":{"flips":0}})"),
            "Nothing was debated: the first vote decided.");
  EXPECT_EQ(words(R"({"rounds":1,"blind_winner":"a","final_winner":"a","debate_changed_the_outcome":false,
                      "conformity":{"flips":0},"served_by":[{"substituted":true},{"substituted":false}]})"),
            "The debate did not change the outcome: a led from the first vote on. No seat changed its proposal. "
            "1 answer came from another provider than was asked.");
  EXPECT_EQ(words(R"({"rounds":1,"blind_winner":"a","final_winner":"a","debate_changed_the_outcome":true})"),
            "The debate changed the outcome: a led from the first vote on, with another text.");
  EXPECT_EQ(
      words(R"({"rounds":2,"blind_winner":"a","final_winner":null,"debate_changed_the_outcome":true,
                      "conformity":{"flips":3,"uncited":2,"uncited_toward_the_first_majority":1},
                      "vote_flips":[{}],"unresolved":[{},{}],"dropped":["c"]})"),
      "The debate changed the outcome: a led the first vote, nobody won. Proposals were changed 3 times, 2 of them "
      "without a critique that says why (1 toward what led the first vote). 1 seat voted for another proposal in "
      "the end than at first. 2 critiques of severity 4 or 5 led to no change. 1 seat did not answer and was "
      "dropped.");
}

TEST(Markdown, HasDissentAndWhatItCost) {
  store::Debate debate;
  debate.status = store::DebateStatus::Completed;
  store::Event event;
  event.body =
      store::Report{parseJson(R"({"served_by":[{"provider":"openai","model":"m"},{"provider":"openai","model":"m"}],
      "minority":[{"seats":["a","b"],"votes":1,"text":"no\n# at all"}]})",
                              "a report")
                        .as_object()};
  const auto text = wire::renderMarkdown(debate, {event}, 9'500'000'000);
  EXPECT_NE(text.find("- answered by: openai:m\n- cost: 0.0095 USD\n"), std::string::npos) << text;
  EXPECT_NE(text.find("## Dissent\n\n**a, b** (1 vote):\n\n> no\n> # at all\n"), std::string::npos) << text;
}

TEST(States, EveryNameIsReadBack) {
  for (const auto status : store::debateStatuses()) EXPECT_EQ(store::parseDebateStatus(store::name(status)), status);
  EXPECT_EQ(store::finalStatusesInSql(), "'completed', 'failed', 'cancelled'");
  EXPECT_EQ(store::openStatusesInSql(), "'created', 'pending', 'running', 'paused'");
  EXPECT_EQ(store::parsePhase("synthesize"), Phase::Synthesize);
  EXPECT_EQ(store::parseCallState("unknown"), store::CallState::Unknown);
  EXPECT_FALSE(store::parseDebateStatus("Completed"));
}

}  // namespace
}  // namespace aragora::debate
