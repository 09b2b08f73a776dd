// Of which vote and of whose words a debate's match is made.
#include "daemon/debate/match.h"

#include <gtest/gtest.h>

namespace aragora::debate {
namespace {

store::Event vote(std::int64_t round, const std::string& voter, const std::string& choice) {
  return {"d", 1, round, voter, 1, store::Vote{choice, 80, ""}};
}

store::Event said(const std::string& seat, const std::string& text, std::int64_t round = 0) {
  return {"d", 1, round, seat, 1, store::AgentMessage{round == 0 ? store::Role::Proposer : store::Role::Reviser, text}};
}

std::vector<store::Event> after(std::vector<store::Event> proposals, const std::vector<store::Event>& votes) {
  proposals.insert(proposals.end(), votes.begin(), votes.end());
  return proposals;
}

store::Call call(store::Phase phase, std::int64_t round, const std::string& seat, const std::string& model,
                 store::CallState state = store::CallState::Done) {
  store::Call call;
  call.phase = phase;
  call.round = round;
  call.seat = seat;
  call.provider = model.substr(0, model.find('/'));
  call.model = model.substr(model.find('/') + 1);
  call.state = state;
  return call;
}

store::Debate debateOf(const std::vector<std::string>& agents, const std::string& metadata = "{}") {
  store::Debate debate;
  debate.agents = agents;
  debate.metadata = metadata;
  return debate;
}

std::vector<std::string> names(const ratings::Match& match) {
  std::vector<std::string> result;
  for (const auto& seat : match.seats) result.push_back(fmt::format("{} {}", ratings::identityOf(seat), seat.votes));
  return result;
}

using Texts = std::vector<std::string>;

TEST(MatchOfADebate, IsOfTheFirstVoteAndOfWhoWroteWhatWasVotedOn) {
  const std::vector<store::Call> calls = {
      call(store::Phase::Propose, 0, "x", "anthropic/claude-1"), call(store::Phase::Propose, 0, "y", "openai/gpt-1"),
      call(store::Phase::Revise, 1, "x", "openrouter/other", store::CallState::Done),
      call(store::Phase::Revise, 1, "y", "openai/gpt-9", store::CallState::Failed),
      call(store::Phase::Vote, 1, "y", "openai/gpt-5")};
  const std::vector<store::Event> proposals = {said("x", "this"), said("y", "that")};
  const auto late = std::vector<store::Event>{vote(1, "x", "y"), vote(1, "y", "")};
  EXPECT_EQ(names(*matchOf(debateOf({"x", "y"}), after(proposals, late), calls)),
            (Texts{"openrouter:other 0", "openai:gpt-1 1"}))
      << "the fallback wrote the last word of x; y stood by its first";
  const auto blind =
      std::vector<store::Event>{vote(0, "x", ""), vote(0, "y", "x"), vote(1, "x", "y"), vote(1, "y", "y")};
  EXPECT_EQ(names(*matchOf(debateOf({"x", "y"}), after(proposals, blind), calls)),
            (Texts{"anthropic:claude-1 1", "openai:gpt-1 0"}));
}

TEST(MatchOfADebate, LeavesOutWhoHadNothingToSay) {
  const std::vector<store::Call> calls = {
      call(store::Phase::Propose, 0, "demo-a", "demo/demo"), call(store::Phase::Propose, 0, "demo-b", "demo/demo"),
      call(store::Phase::Propose, 0, "openai", "openai/gpt", store::CallState::Failed)};
  const std::vector<store::Event> proposals = {said("demo-a", "this"), said("demo-b", "that")};
  const std::vector<store::Event> votes = {vote(0, "demo-a", "demo-b"), vote(0, "demo-b", "demo-a")};
  EXPECT_EQ(names(*matchOf(debateOf({"demo-a", "demo-b", "openai"}), after(proposals, votes), calls)),
            (Texts{"demo-a 1", "demo-b 1"}));
  EXPECT_FALSE(matchOf(debateOf({"demo-a", "openai"}), after(proposals, {vote(0, "demo-a", "openai")}), calls));
  EXPECT_FALSE(matchOf(debateOf({"demo-a", "demo-b"}), proposals, calls));
}

TEST(MatchOfADebate, WhoSaysTheSameSharesTheVotesAndLosesNoneByIt) {
  std::vector<store::Call> calls;
  for (const auto* seat : {"demo-a", "demo-b", "demo-c"})
    calls.push_back(call(store::Phase::Propose, 0, seat, "demo/demo"));
  const auto debate = debateOf({"demo-a", "demo-b", "demo-c"});
  // Two of them have but one who may vote for them.
  const auto two =
      *matchOf(debate,
               after({said("demo-a", "This  it is"), said("demo-b", "this it is"), said("demo-c", "that")},
                     {vote(0, "demo-a", "demo-c"), vote(0, "demo-b", "demo-c"), vote(0, "demo-c", "demo-a")}),
               calls);
  EXPECT_EQ(names(two), (Texts{"demo-a 1", "demo-b 1", "demo-c 2"}));
  for (const auto& game : ratings::gamesOf(two)) EXPECT_EQ(game.score, 0.5);
  const auto all = *matchOf(
      debate, after({said("demo-a", "x"), said("demo-b", "x"), said("demo-c", "x")}, {vote(0, "demo-b", "demo-a")}),
      calls);
  EXPECT_EQ(names(all), (Texts{"demo-a 0", "demo-b 0", "demo-c 0"}));
}

TEST(MatchOfADebate, HasTheDomainOfTheMetadataWhereThatIsOne) {
  EXPECT_EQ(domainOf(debateOf({}, R"({"domain":"Law"})")), "law");
  for (const auto* none : {"{}", R"({"domain":7})", R"({"domain":"a b"})", "[]", "no JSON"})
    EXPECT_EQ(domainOf(debateOf({}, none)), "") << none;
}

}  // namespace
}  // namespace aragora::debate
