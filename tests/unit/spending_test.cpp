// What a call may cost and did cost, from prices.
#include "daemon/debate/spending.h"

#include <gtest/gtest.h>

namespace aragora::debate {
namespace {

using providers::Failure;
using providers::FailureKind;
using store::ChargeState;

class SpendingTest : public testing::Test {
 protected:
  metrics::Registry metrics_;
  const std::shared_ptr<const models::Catalogue> models_ =
      std::make_shared<models::Catalogue>(models::Catalogue::builtIn());

  Spending with(const store::BudgetCaps& caps) { return Spending({models_, caps, 8192}, metrics_); }
  static store::Debate debate(std::optional<Picos> budget = {}) {
    store::Debate debate;
    debate.id = "d";
    debate.owner = "user:a";
    debate.key_id = "k";
    debate.agents = {"anthropic", "openai", "openai"};
    debate.budget = budget;
    return debate;
  }
  static store::Call call(const std::string& provider) {
    store::Call call;
    call.id = "c";
    call.debate_id = "d";
    call.provider = provider;
    return call;
  }
  static providers::Question question(const std::string& model) {
    providers::Question question;
    question.model = model;
    question.system = "instructions";
    question.user = R"({"task":"what?"})";
    return question;
  }
  Bill bill(const Spending& spending, const std::string& provider, const std::string& model,
            std::optional<Picos> budget = {}) {
    return spending.estimate(debate(budget), provider, call(provider), question(model));
  }
};

TEST_F(SpendingTest, ReservesForEveryByteAndEveryTokenOfTheAnswer) {
  const auto found = bill(with({.daily = 100 * kPicosPerUsd}), "anthropic", "claude-opus-5-5");
  ASSERT_TRUE(found.reservation);
  // At 8 dollars a million for what is written to a cache for an hour, 20 for the answer; 2,048 tokens are the
  // vendor's.
  const auto bytes = found.request_bytes;
  EXPECT_GT(bytes, static_cast<std::int64_t>(std::string("instructions{\"task\":\"what?\"}").size()));
  EXPECT_EQ(found.reservation->wanted, (bytes + 2048) * 8'000'000 + 8192LL * 20'000'000);
  EXPECT_EQ(found.reservation->least, (bytes + 2048) * 8'000'000 + Spending::kLeastTokens * 20'000'000);
  EXPECT_EQ(found.reservation->account, "user:a");
  EXPECT_EQ(found.reservation->key_id, "k");
}

TEST_F(SpendingTest, AsksForAsManyTokensAsArePaidFor) {
  const auto found = bill(with({.daily = 100 * kPicosPerUsd}), "anthropic", "claude-opus-5-5");
  EXPECT_EQ(found.tokensFor(found.reservation->wanted), 8192);
  EXPECT_EQ(found.tokensFor(found.reservation->wanted - 1), 8191);
  EXPECT_EQ(found.tokensFor(found.reservation->least), Spending::kLeastTokens);
  EXPECT_EQ(found.tokensFor(0), 0);
}

TEST_F(SpendingTest, TakesTheLowerOfTheDebatesCapAndTheOperators) {
  const auto spending = with({.debate = 5 * kPicosPerUsd});
  EXPECT_EQ(bill(spending, "openai", "gpt-6-sol").caps.debate, 5 * kPicosPerUsd);
  EXPECT_EQ(bill(spending, "openai", "gpt-6-sol", kPicosPerUsd).caps.debate, kPicosPerUsd);
  EXPECT_EQ(bill(spending, "openai", "gpt-6-sol", 9 * kPicosPerUsd).caps.debate, 5 * kPicosPerUsd);
}

TEST_F(SpendingTest, LeavesTheOtherSeatsTheirPart) {
  const auto found = bill(with({}), "openai", "gpt-6-sol", 3 * kPicosPerUsd / 10);
  EXPECT_EQ(found.reservation->wanted, std::min(kPicosPerUsd / 10, *found.most(8192)));
  const auto little = bill(with({}), "openai", "gpt-6-sol", 3);
  EXPECT_EQ(little.reservation->wanted, little.reservation->least) << "never less than a call needs";
}

TEST_F(SpendingTest, CostsNothingWhatAnswersInThisProcess) {
  EXPECT_FALSE(bill(with({.daily = 0}), "demo", "demo").reservation);
  EXPECT_EQ(bill(with({.daily = 0}), "demo", "demo").why_not, "");
}

TEST_F(SpendingTest, AsksNoModelWithoutAPriceUnderACap) {
  const auto capped = bill(with({.daily = kPicosPerUsd}), "openai", "gpt-99");
  EXPECT_NE(capped.why_not.find("the price of gpt-99 at openai is not known"), std::string::npos) << capped.why_not;
  EXPECT_FALSE(capped.reservation);
  EXPECT_EQ(with({.daily = 1}).whyUnpriced(debate(), "openai", "gpt-99"), capped.why_not) << "told at the door";
  EXPECT_EQ(with({}).whyUnpriced(debate(kPicosPerUsd), "openai", "gpt-99"), capped.why_not);
  EXPECT_EQ(with({}).whyUnpriced(debate(), "openai", "gpt-99"), "");
  EXPECT_EQ(with({.daily = 1}).whyUnpriced(debate(), "openai", "gpt-6-sol"), "") << "a cap that is full is told later";
  EXPECT_EQ(with({.daily = 1}).whyUnpriced(debate(), "demo", "demo"), "");
  const auto free = bill(with({}), "openai", "gpt-99");
  EXPECT_EQ(free.why_not, "");
  ASSERT_TRUE(free.reservation) << "what it says it took is counted";
  EXPECT_EQ(free.reservation->wanted, 0);
}

TEST_F(SpendingTest, ChargesWhatWasUsedExactly) {
  const auto spending = with({});
  const auto found = bill(spending, "anthropic", "claude-opus-5-5");
  providers::Answer answer;
  answer.model = "claude-opus-5-5-20261101";  // it may call itself by a date
  answer.usage.input = 1234;
  answer.usage.cache_read = 1000;
  answer.usage.output = 567;
  answer.usage_known = true;
  auto charge = spending.chargeOf(found, call("anthropic"), answer);
  EXPECT_EQ(charge.state, ChargeState::Settled);
  EXPECT_EQ(charge.cost, 16'476'000'000);
  answer.usage_known = false;
  EXPECT_EQ(spending.chargeOf(found, call("anthropic"), answer).state, ChargeState::ChargedUnknown);
  answer.cost_picos = 42;  // the provider's own word goes before
  charge = spending.chargeOf(found, call("anthropic"), answer);
  EXPECT_EQ(charge.cost, 42);
}

// Who answers instead is in the bound, and in what was spent.
TEST_F(SpendingTest, CountsForWhoeverAnswered) {
  const auto spending = with({.daily = 100 * kPicosPerUsd});
  auto asked = question("claude-haiku-5-5");
  asked.substitute = "anthropic/claude-opus-5.5";  // dearer
  const auto found = spending.estimate(debate(), "anthropic", call("anthropic"), asked);
  ASSERT_TRUE(found.fallback && found.reservation);
  EXPECT_EQ(found.reservation->wanted, bill(spending, "anthropic", "claude-opus-5-5").reservation->wanted);
  asked.substitute = "nobody/knows-1";
  EXPECT_FALSE(spending.estimate(debate(), "anthropic", call("anthropic"), asked).fallback);
  providers::Answer answer;
  answer.model = "anthropic/claude-opus-5.5";
  answer.provider = "openrouter";
  answer.cost_picos = 42;
  const auto charge = spending.chargeOf(found, call("anthropic"), answer);
  EXPECT_EQ(charge.provider + " " + charge.model, "openrouter anthropic/claude-opus-5.5");
  answer.provider = "anthropic";
  EXPECT_EQ(spending.chargeOf(found, call("anthropic"), answer).provider, "");
}

TEST_F(SpendingTest, KeepsWhatMayHaveBeenBilled) {
  for (const auto kind : {FailureKind::Timeout, FailureKind::Cut, FailureKind::Malformed, FailureKind::Refused,
                          FailureKind::Empty, FailureKind::Stopped})
    EXPECT_EQ(Spending::chargeOf(Failure(kind, "x")).state, ChargeState::ChargedUnknown) << static_cast<int>(kind);
  for (const auto kind : {FailureKind::Unreachable, FailureKind::Server, FailureKind::Throttled,
                          FailureKind::Credential, FailureKind::Money, FailureKind::Request, FailureKind::Rejected})
    EXPECT_EQ(Spending::chargeOf(Failure(kind, "x")).state, ChargeState::Released) << static_cast<int>(kind);
  EXPECT_EQ(Spending::chargeOf(Failure(FailureKind::Server, "x").workedOn(true).retold("y")).state,
            ChargeState::ChargedUnknown);
  EXPECT_EQ(Spending::chargeOf(Error(Code::Internal, "whatever")).state, ChargeState::ChargedUnknown);
}

}  // namespace
}  // namespace aragora::debate
