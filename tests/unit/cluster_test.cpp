// What instances tell each other: hints, and parts of answers.
#include <gtest/gtest.h>

#include "common/base/text.h"
#include "common/crypto/aead.h"
#include "daemon/cluster/hint.h"
#include "daemon/cluster/speech.h"
#include "daemon/cluster/speech_queue.h"

namespace aragora {
namespace {

using cluster::Hint;
using cluster::HintKind;

TEST(Hint, ComesBackAsItWasTold) {
  for (const auto& hint : {Hint{HintKind::Event, "01JD0000000000000000000000", 17, 0}, Hint{HintKind::Lists, "", 0, 9},
                           Hint{HintKind::Cancel, "01JD0000000000000000000000", 0, 0}, Hint{HintKind::Minded, "", 0, 9},
                           Hint{HintKind::Breaker, "anthropic:open", 60'000, 0},
                           Hint{HintKind::Listen, "01JD0000000000000000000000", 0, 0}}) {
    const auto heard = cluster::parse(cluster::encode(hint, "host:12:ab34"));
    ASSERT_TRUE(heard.has_value());
    EXPECT_EQ(heard->instance, "host:12:ab34");
    EXPECT_EQ(heard->hint.kind, hint.kind);
    EXPECT_EQ(heard->hint.debate_id, hint.debate_id);
    EXPECT_EQ(heard->hint.seq, hint.seq);
    EXPECT_EQ(heard->hint.ticket, hint.ticket);
  }
}

TEST(Hint, WhatIsNoneIsIgnored) {
  for (const std::string bad :
       {"", "1", "2 a event X 1 0", "1 a event X 1", "1 a event X 1 0 2", "1 a event - 1 0", "1 a other X 1 0",
        "1 a event X -1 0", "1 a event X one 0", "1  event X 1 0", "1 a cancel - 0 0", "1 a breaker - 5 0",
        "1 a listen - 0 0", "1 a lists - 0 -1", "1 a event X 99999999999999999999 0"})
    EXPECT_FALSE(cluster::parse(bad)) << bad;
  EXPECT_FALSE(cluster::parse("1 a event " + std::string(2000, 'x') + " 1 0"));
  EXPECT_TRUE(cluster::parse("1 a lists - 0 0"));
}

using cluster::Ears;
using cluster::Speech;
using cluster::Unsent;
using wire::Delta;

const std::string kDebate = "01JD0000000000000000000000";
const crypto::Keyring kRing{Secret(std::string(64, 'a'))};

Delta part(std::int64_t offset, std::string text, std::string agent = "openai") {
  Delta delta;
  delta.debate_id = kDebate;
  delta.agent = std::move(agent);
  delta.phase = store::Phase::Synthesize;
  delta.round = 2;
  delta.attempt = 3;
  delta.offset = offset;
  delta.text = std::move(text);
  delta.at = 1'764'356'400'000'001;
  return delta;
}

Delta without(Delta::Kind kind) {
  auto delta = part(7, "");
  delta.kind = kind;
  return delta;
}

std::optional<Speech> reopened(const std::string& line, const std::string& to = "there",
                               const crypto::Keyring& ring = kRing) {
  const auto sealed = cluster::parseSpeech(line);
  return sealed ? cluster::open(*sealed, to, ring) : std::nullopt;
}

Speech speechOf(std::vector<Delta> deltas) { return {"here", "there", kDebate, 41, std::move(deltas)}; }

TEST(Speech, ComesBackAsItWasSaidAndNothingOfItIsReadable) {
  const std::vector<Delta> said = {part(0, "a wörd\n{} 1 2"), part(0, "", "demo"), without(Delta::Kind::Reset),
                                   without(Delta::Kind::End)};
  const auto line = cluster::seal(speechOf(said), kRing);
  for (const auto* word : {"rd", "openai", "demo", "synthesize", "text", "reset"})
    EXPECT_EQ(line.find(" " + std::string(word)), std::string::npos) << line;
  EXPECT_EQ(line.find("wörd"), std::string::npos);
  EXPECT_FALSE(cluster::parse(line)) << "no hint";
  const auto heard = reopened(line);
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->from, "here");
  EXPECT_EQ(heard->number, 41);
  ASSERT_EQ(heard->deltas.size(), said.size());
  for (std::size_t i = 0; i < said.size(); ++i) {
    const auto& was = said[i];
    const auto& is = heard->deltas[i];
    EXPECT_EQ(
        std::tie(is.debate_id, is.agent, is.phase, is.round, is.attempt, is.kind, is.offset, is.text, is.at),
        std::tie(was.debate_id, was.agent, was.phase, was.round, was.attempt, was.kind, was.offset, was.text, was.at));
  }
  EXPECT_NE(line, cluster::seal(speechOf(said), kRing)) << "another nonce each time";
}

TEST(Speech, OpensForTheOneThatItIsForAndOnlyAsItWasSealed) {
  const auto line = cluster::seal(speechOf({part(0, "text")}), kRing);
  ASSERT_TRUE(reopened(line));
  EXPECT_FALSE(reopened(line, "elsewhere"));
  EXPECT_FALSE(reopened(replaceAll(line, "here", "hers"))) << "from somebody else";
  EXPECT_FALSE(reopened(replaceAll(line, kDebate, "01JD0000000000000000000001"))) << "of another debate";
  EXPECT_FALSE(reopened(line, "there", crypto::Keyring{Secret(std::string(64, 'b'))}));
  EXPECT_TRUE(reopened(line, "there", crypto::Keyring{Secret(std::string(64, 'b')), {Secret(std::string(64, 'a'))}}))
      << "a key that is being rotated away";
  for (std::size_t i = 0; i < line.size(); ++i) {
    EXPECT_FALSE(reopened(line.substr(0, i))) << i;
    auto other = line;
    other[i] = other[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(reopened(other)) << i;
  }
  EXPECT_FALSE(reopened(line + " more"));
  EXPECT_FALSE(
      reopened("speech1 here " + kDebate + " " + kRing.activeId() + " " + std::string(cluster::kLongestSpeech, 'A')));
}

TEST(Speech, WhatWasSealedByUsAndIsNonsenseIsRefused) {
  const auto good = cluster::encodeParts({part(5, "text"), without(Delta::Kind::End)});
  ASSERT_TRUE(cluster::parseParts(good, kDebate));
  for (std::size_t i = 1; i < good.size(); ++i) {
    const auto some = cluster::parseParts(good.substr(0, i), kDebate);
    EXPECT_TRUE(!some || (some->size() == 1 && good.substr(0, i) == cluster::encodeParts({part(5, "text")}))) << i;
  }
  for (const std::string bad :
       {"text", "\n", "text synthesize 1 1 0 0 1\na", "word synthesize 1 1 0 0 1 0\na", "text word 1 1 0 0 1 0\na",
        "text synthesize -1 1 0 0 1 0\na", "text synthesize 1 1 0 0 0 0\n", "text synthesize 1 1 0 0 1 2\nab",
        "text synthesize 1 1 0 0 1 9223372036854775807\nab", "text synthesize 1 1 0 0 1 -1\na",
        "end synthesize 1 1 0 0 1 1\nab", "text synthesize 1 1 0 0 1 1\na\xff", "text synthesize 1 1 0 0 1 1 1\nab"})
    EXPECT_FALSE(cluster::parseParts(bad, kDebate)) << bad;
  EXPECT_TRUE(cluster::parseParts("text synthesize 1 1 0 0 1 1\nab", kDebate));
  for (const std::string plain : {"", "41", "41\n", "one\ntext synthesize 1 1 0 0 1 1\nab"}) {
    const cluster::SealedSpeech sealed{
        "here", kDebate, kRing.activeId(),
        crypto::sealAesGcm(kRing.speechKey(kDebate), plain, "speech|" + kDebate + "|here|there")};
    EXPECT_FALSE(cluster::open(sealed, "there", kRing)) << plain;
  }
}

TEST(Speech, WhatIsLongGoesInSeveralLinesCutBetweenCharacters) {
  std::string text;
  while (text.size() < 200'000) text += "a€ö";
  const auto pieces = cluster::inPieces({part(3, text), part(0, "short", "demo"), without(Delta::Kind::End)});
  EXPECT_GE(pieces.size(), 4U);
  std::string together;
  std::vector<Delta> all;
  for (const auto& piece : pieces) {
    const auto line = cluster::seal(speechOf(piece), kRing);
    EXPECT_LE(line.size(), cluster::kLongestSpeech);
    const auto heard = reopened(line);
    ASSERT_TRUE(heard);
    for (const auto& delta : heard->deltas) {
      all.push_back(delta);
      if (delta.agent != "openai" || delta.kind != Delta::Kind::Text) continue;
      EXPECT_EQ(delta.offset, 3 + wire::characters(together));
      together += delta.text;
    }
  }
  EXPECT_TRUE(together == text);
  EXPECT_EQ(all.back().kind, Delta::Kind::End);
  std::vector<Delta> many(5'000, part(0, "x", "demo"));
  std::size_t count = 0;
  for (const auto& piece : cluster::inPieces(many)) {
    count += piece.size();
    EXPECT_LE(cluster::seal(speechOf(piece), kRing).size(), cluster::kLongestSpeech);
  }
  EXPECT_EQ(count, many.size());
}

TEST(Unsent, JoinsWhatContinuesAndKeepsTheOrder) {
  Unsent unsent;
  for (const auto& one : {part(0, "ä "), part(0, "x", "demo"), part(2, "b "), part(1, "y", "demo"), part(9, "gap"),
                          without(Delta::Kind::End), part(12, "new")})
    EXPECT_TRUE(unsent.add(one));
  const auto said = unsent.take();
  EXPECT_TRUE(unsent.empty());
  std::vector<std::string> texts;
  for (const auto& one : said.at(kDebate)) texts.push_back(one.text);
  EXPECT_EQ(texts, (std::vector<std::string>{"ä b ", "xy", "gap", "", "new"}));
}

TEST(Unsent, TakesNoMoreThanItMay) {
  Unsent unsent;
  std::size_t taken = 0;
  for (std::size_t i = 0; unsent.add(without(Delta::Kind::Reset)) && i < 100'000; ++i) ++taken;
  EXPECT_LE(taken, Unsent::kMostBytes / 256) << "what has no text costs, too";
  EXPECT_GT(taken, 1'000U);
  EXPECT_FALSE(unsent.add(part(0, "x")));
  (void)unsent.take();
  EXPECT_TRUE(unsent.add(part(0, "x")));
  EXPECT_FALSE(unsent.add(part(1, std::string(Unsent::kMostBytes, 'x'))));
  EXPECT_TRUE(unsent.add(part(1, "y"))) << "what was refused left its room";
}

TEST(Ears, ListenForAWhileAndAreNoMoreThanTheyMay) {
  Ears ears;
  const Ears::Time now{};
  EXPECT_FALSE(ears.any(kDebate, now));
  ears.add(kDebate, "b", now);
  ears.add(kDebate, "c", now + std::chrono::seconds(5));
  EXPECT_EQ(ears.of(kDebate, now), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(ears.of(kDebate, now + Ears::kPatience), (std::vector<std::string>{"c"}));
  EXPECT_FALSE(ears.any(kDebate, now + std::chrono::seconds(5) + Ears::kPatience));
  ears.add(kDebate, std::string(Ears::kLongestName + 1, 'x'), now);
  for (int i = 0; i < 100; ++i) ears.add(kDebate, "forged " + std::to_string(i), now);
  EXPECT_EQ(ears.of(kDebate, now).size(), Ears::kMostInstances);
  for (std::size_t i = 0; i < Ears::kMostDebates + 100; ++i) ears.add("debate " + std::to_string(i), "b", now);
  EXPECT_EQ(ears.debates(), Ears::kMostDebates);
  ears.add("late", "b", now + Ears::kPatience);
  EXPECT_TRUE(ears.any("late", now + Ears::kPatience)) << "those that ceased to ask have left their room";
}

}  // namespace
}  // namespace aragora
