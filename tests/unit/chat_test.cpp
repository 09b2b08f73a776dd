// What clients of the chat API ask and see, and what is heard of an answer while it is made.
#include <gtest/gtest.h>

#include "common/base/error.h"
#include "daemon/chat/question.h"
#include "daemon/chat/replies.h"
#include "daemon/debate/speaker.h"

namespace aragora {

using chat::parseProfiles;
using chat::readQuestion;
using debate::Spoken;

namespace {
chat::Question asked(std::string_view body, const chat::Profiles& profiles = parseProfiles({}, 12)) {
  return readQuestion(parseJson(body, "test").as_object(), profiles);
}

std::string refusalOf(std::string_view body) {
  try {
    asked(body);
  } catch (const Error& error) {
    return std::string(error.details().as_array().at(0).as_object().at("field").as_string());
  }
  return "accepted";
}

// In every way it can be cut.
std::vector<std::string> saidInParts(std::string_view member, const std::string& answer) {
  std::vector<std::string> results;
  for (std::size_t size = 1; size <= answer.size(); ++size) {
    Spoken spoken(member);
    std::string said;
    for (std::size_t at = 0; at < answer.size(); at += size) said += spoken.take(answer.substr(at, size));
    results.push_back(said);
  }
  return results;
}
}  // namespace

TEST(Spoken, IsTheWholeOfAnAnswerInProseHoweverItIsCut) {
  const std::string answer = "Ship it – größer, 猫 and 🐈. {not JSON}";
  for (const auto& said : saidInParts("answer", answer)) EXPECT_EQ(said, answer);
}

TEST(Spoken, IsOneMemberOfAnAnswerInJsonWithoutItsEscapes) {
  const std::string answer =
      R"({"position": "answer", "claims": ["answer", {"answer": "inner"}], "answer": "a \"b\"\n\u00e4\ud83d\udc08 ü", "confidence": 80})";
  for (const auto& said : saidInParts("answer", answer)) EXPECT_EQ(said, "a \"b\"\nä🐈 ü");
  for (const auto& said : saidInParts("answer", "```json\n" + answer + "\n```")) EXPECT_EQ(said, "a \"b\"\nä🐈 ü");
}

TEST(Spoken, SaysNothingOfBallots) { EXPECT_TRUE(debate::spokenMember(store::Phase::Vote).empty()); }

TEST(Speaker, TakesBackWhatTheTryBeforeSaidAndNumbersCharacters) {
  std::vector<wire::Delta> heard;
  const debate::Speak speak = [&](const wire::Delta& delta) { heard.push_back(delta); };
  {
    debate::Speaker speaker(speak, "d", {store::Phase::Propose, 0, "demo"}, 2);
    const auto on_delta = speaker.onDelta();
    on_delta("größ");
    on_delta("er");
  }
  ASSERT_EQ(heard.size(), 4U);
  EXPECT_EQ(heard[0].kind, wire::Delta::Kind::Reset);
  EXPECT_EQ(heard[2].offset, 4);
  EXPECT_TRUE(heard[1].continuedBy(heard[2]));
  EXPECT_FALSE(heard[2].continuedBy(heard[1]));
  EXPECT_EQ(heard[3].kind, wire::Delta::Kind::End);
  EXPECT_EQ(heard[3].offset, 6);
}

TEST(Speaker, EndsQuietlyWhereNobodyCanBeTold) {
  int heard = 0;
  const debate::Speak speak = [&](const wire::Delta& delta) {
    ++heard;
    if (delta.kind == wire::Delta::Kind::End) throw std::runtime_error("the hub has no memory left");
  };
  {
    debate::Speaker speaker(speak, "d", {store::Phase::Propose, 0, "demo"}, 1);
    speaker.onDelta()("said");
  }
  EXPECT_EQ(heard, 2);
}

TEST(ChatProfiles, AreReadFromTheSettingAndADefaultIsAlwaysThere) {
  const auto profiles = parseProfiles({"quick demo+demo rounds=0 consensus=any", "deep rounds=3"}, 12);
  EXPECT_EQ(profiles.size(), 3U);
  EXPECT_EQ(toJson(profiles.at("quick").request()), R"({"agents":["demo","demo"],"rounds":0,"consensus":"any"})");
  EXPECT_EQ(toJson(profiles.at("default").request()), "{}");
  for (const auto* model : {"aragora/quick", "quick"}) EXPECT_EQ(chat::findProfile(profiles, model)->name, "quick");
  EXPECT_EQ(chat::findProfile(profiles, "aragora")->name, "default");
  EXPECT_EQ(chat::findProfile(profiles, "gpt-6-sol"), nullptr);
}

TEST(ChatProfiles, AreRefusedWithTheirEntryNamed) {
  for (const auto* wrong :
       {"Quick demo+demo", "q demo", "q rounds=13", "q rounds=x", "q consensus=coin", "q tempo=1", ""}) {
    try {
      parseProfiles({wrong}, 12);
      ADD_FAILURE() << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Code::Config);
      EXPECT_NE(std::string(error.what()).find(wrong), std::string::npos);
    }
  }
}

TEST(ChatQuestion, IsTheLastMessageOfTheUserAndTheOthersAreContext) {
  const auto question = asked(R"({"model": "aragora/default", "stream": true, "stream_options": {"include_usage": true},
    "temperature": 0.3, "aragora": {"rounds": 0},
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"},
                 {"role": "assistant", "content": "Hi"},
                 {"role": "user", "content": [{"type": "text", "text": "Ship"}, {"type": "text", "text": "it?"}]}]})");
  EXPECT_EQ(question.request.at("task").as_string(), "Ship\nit?");
  EXPECT_EQ(question.request.at("context").as_string(), "system: Be brief.\n\nuser: Hello\n\nassistant: Hi");
  EXPECT_EQ(question.request.at("rounds").as_int64(), 0);
  EXPECT_TRUE(question.stream && question.include_usage);
}

TEST(ChatQuestion, RefusesWhatItCannotDoByName) {
  const std::string user = R"("messages": [{"role": "user", "content": "Ship it?"}])";
  const auto with = [&](const std::string& more) { return R"({"model": "aragora", )" + user + more + "}"; };
  EXPECT_EQ(refusalOf(with("")), "accepted");
  EXPECT_EQ(refusalOf("{" + user + "}"), "model");
  EXPECT_EQ(refusalOf(R"({"model": "gpt-6", )" + user + "}"), "model");
  EXPECT_EQ(refusalOf(R"({"model": "aragora"})"), "messages");
  EXPECT_EQ(refusalOf(R"({"model": "aragora", "messages": [{"role": "assistant", "content": "x"}]})"), "messages");
  EXPECT_EQ(refusalOf(R"({"model": "aragora", "messages": [{"role": "tool", "content": "x"}]})"), "messages[0].role");
  EXPECT_EQ(refusalOf(R"({"model": "aragora", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]})"),
            "messages[0].content");
  EXPECT_EQ(refusalOf(with(R"(, "tools": [{}])")), "tools");
  EXPECT_EQ(refusalOf(with(R"(, "n": 2)")), "n");
  EXPECT_EQ(refusalOf(with(R"(, "response_format": {"type": "json_object"})")), "response_format");
  EXPECT_EQ(refusalOf(with(R"(, "stop": ["\n"])")), "stop");
  EXPECT_EQ(refusalOf(with(R"(, "tools": [], "n": 1, "logprobs": false, "stop": null)")), "accepted");
  EXPECT_EQ(refusalOf(with(R"(, "temperature": 0, "max_tokens": 5, "max_completion_tokens": 5, "seed": 1)")),
            "accepted")
      << "SDKs send them by habit";
}

TEST(ChatReplies, NameTheDebateItsCostAndItsReceipt) {
  chat::Waiting waiting;
  waiting.debate_id = "d";
  waiting.receipt_url = "https://x/api/debates/d/receipt";
  const auto completion = chat::completion(waiting, store::Debate{}, {{1, 2}, 1'500'000'000});
  const auto& about = completion.at("aragora").as_object();
  EXPECT_EQ(jsonTextOr(about, "cost_usd", ""), "0.0015");
  EXPECT_EQ(jsonTextOr(about, "receipt_url", ""), waiting.receipt_url);
  EXPECT_NE(chat::lastChunks(waiting, store::Debate{}, {}).find(R"("cost_usd":"0","receipt_url":"https://x/)"),
            std::string::npos);
}

}  // namespace aragora
