// Of which vote and of whose words a debate's match is made.
#include "daemon/debate/match.h"

#include <gtest/gtest.h>

namespace aragora::debate {
namespace {

store::Event vote(std::int64_t round, const std::string& voter, const std::string& choice) {
  return {"d", 1, round, voter, 1, store::Vote{choice, 80, ""}};
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
  const auto late = std::vector<store::Event>{vote(1, "x", "y"), vote(1, "y", "")};
  EXPECT_EQ(names(*matchOf(debateOf({"x", "y"}), late, calls)), (Texts{"openrouter:other 0", "openai:gpt-1 1"}))
      << "the fallback wrote the last word of x; y stood by its first";
  const auto blind =
      std::vector<store::Event>{vote(0, "x", ""), vote(0, "y", "x"), vote(1, "x", "y"), vote(1, "y", "y")};
  EXPECT_EQ(names(*matchOf(debateOf({"x", "y"}), blind, calls)), (Texts{"anthropic:claude-1 1", "openai:gpt-1 0"}));
}

TEST(MatchOfADebate, LeavesOutWhoHadNothingToSay) {
  const std::vector<store::Call> calls = {
      call(store::Phase::Propose, 0, "demo-a", "demo/demo"), call(store::Phase::Propose, 0, "demo-b", "demo/demo"),
      call(store::Phase::Propose, 0, "openai", "openai/gpt", store::CallState::Failed)};
  const std::vector<store::Event> votes = {vote(0, "demo-a", "demo-b"), vote(0, "demo-b", "demo-a")};
  EXPECT_EQ(names(*matchOf(debateOf({"demo-a", "demo-b", "openai"}), votes, calls)), (Texts{"demo-a 1", "demo-b 1"}));
  EXPECT_FALSE(matchOf(debateOf({"demo-a", "openai"}), {vote(0, "demo-a", "openai")}, calls));
  EXPECT_FALSE(matchOf(debateOf({"demo-a", "demo-b"}), {}, calls));
}

TEST(MatchOfADebate, HasTheDomainOfTheMetadataWhereThatIsOne) {
  EXPECT_EQ(domainOf(debateOf({}, R"({"domain":"Law"})")), "law");
  for (const auto* none : {"{}", R"({"domain":7})", R"({"domain":"a b"})", "[]", "no JSON"})
    EXPECT_EQ(domainOf(debateOf({}, none)), "") << none;
}

}  // namespace
}  // namespace aragora::debate
