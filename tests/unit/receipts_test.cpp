#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/curve.h"
#include "common/crypto/hash.h"
#include "common/receipts/bundle.h"
#include "common/receipts/canonical.h"

namespace aragora::receipts {
namespace {

TEST(CanonicalJson, SortsNamesByUtf16UnitsAsRfc8785Section323) {
  const auto value = parseStrict(
      R"({"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",)"
      R"("\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"})",
      "it");
  EXPECT_EQ(canonical(value),
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With "
            "Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With "
            "Dagesh\"}");
}

TEST(CanonicalJson, WritesTextsAndLiteralsAsRfc8785Section322) {
  const auto value = parseStrict(
      R"({"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [ null, true, false ] })", "it");
  EXPECT_EQ(canonical(value), "{\"literals\":[null,true,false],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
}

TEST(CanonicalJson, SortsWithinNestedObjectsAsThePublishedWeirdSample) {
  EXPECT_EQ(canonical(parseStrict(R"({"b":[{"z":1,"a":{}}],"a":"\u0008\u000c\t\u007f"})", "it")),
            "{\"a\":\"\\b\\f\\t\x7f\",\"b\":[{\"a\":{},\"z\":1}]}");
}

TEST(CanonicalJson, RefusesWhatParsersReadDifferently) {
  for (const auto* text : {"1.5", "1e3", "1.0", "[9007199254740992]", "{\"a\":-9007199254740992}",
                           "18446744073709551615", "{\"a\":1,\"a\":1}", "\"\xff\"", "{", "1 2"}) {
    EXPECT_THROW((void)parseStrict(text, "it"), Error) << text;
  }
  EXPECT_EQ(canonical(parseStrict("[9007199254740991,-9007199254740991,0]", "it")),
            "[9007199254740991,-9007199254740991,0]");
}

TEST(CanonicalJson, NamesThePlaceOfWhatItRefuses) {
  try {
    (void)canonical(json::object{{"a/b", json::array{1, 0.5}}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/a~1b/1"), std::string::npos) << error.what();
  }
}

std::vector<Hash> leavesOf(const std::vector<std::string>& entries) {
  std::vector<Hash> leaves;
  for (const auto& entry : entries) leaves.push_back(leafHash(entry));
  return leaves;
}

// The eight entries that implementations of RFC 6962 are tested with.
std::vector<Hash> publishedLeaves() {
  std::vector<std::string> entries;
  for (const auto* hex :
       {"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"})
    entries.push_back(*fromHex(hex));
  return leavesOf(entries);
}

// What a log keeps, grown leaf by leaf.
struct Grown {
  std::map<std::pair<std::int64_t, std::int64_t>, Hash> nodes;
  std::int64_t size = 0;
  NodeAt at() const {
    return [this](std::int64_t level, std::int64_t position) { return nodes.at({level, position}); };
  }
  void add(const Hash& leaf) {
    for (auto& node : grow(size, leaf, at())) nodes[{node.level, node.position}] = node.hash;
    ++size;
  }
};

TEST(Tree, HasTheRootsOfThePublishedVectors) {
  const auto leaves = publishedLeaves();
  const std::vector<std::string> roots = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                                          "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                                          "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                                          "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                                          "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                                          "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                                          "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                                          "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                                          "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  Grown log;
  for (std::size_t n = 0; n < roots.size(); ++n) {
    EXPECT_EQ(toHex(rootOf({leaves.begin(), leaves.begin() + static_cast<std::ptrdiff_t>(n)})), roots[n]) << n;
    EXPECT_EQ(toHex(rootOf(log.size, log.at())), roots[n]) << n;
    if (n < leaves.size()) log.add(leaves[n]);
  }
}

std::vector<std::string> hexOf(const std::vector<Hash>& hashes) {
  std::vector<std::string> result;
  for (const auto& hash : hashes) result.push_back(toHex(hash));
  return result;
}

TEST(Tree, HasTheProofsOfThePublishedVectors) {
  Grown log;
  for (const auto& leaf : publishedLeaves()) log.add(leaf);
  const std::string of_four = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7";
  const std::string of_two = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
  EXPECT_EQ(
      hexOf(inclusionProof(5, 8, log.at())),
      (std::vector<std::string>{"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b", of_two, of_four}));
  EXPECT_EQ(
      hexOf(consistencyProof(6, 8, log.at())),
      (std::vector<std::string>{"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a", of_two, of_four}));
}

TEST(Tree, EveryProofUpToSixtyFourLeavesHoldsAndNoOtherDoes) {
  constexpr std::int64_t kMost = 64;
  Grown log;
  std::vector<Hash> leaves;
  std::vector<Hash> roots = {rootOf({})};
  for (std::int64_t n = 0; n < kMost; ++n) {
    leaves.push_back(leafHash(fmt::format("leaf {}", n)));
    log.add(leaves.back());
    roots.push_back(rootOf(leaves));
    ASSERT_EQ(rootOf(n + 1, log.at()), roots.back());
  }
  for (std::int64_t size = 1; size <= kMost; ++size) {
    const auto& root = roots[static_cast<std::size_t>(size)];
    for (std::int64_t index = 0; index < size; ++index) {
      const auto& leaf = leaves[static_cast<std::size_t>(index)];
      auto proof = inclusionProof(index, size, log.at());
      ASSERT_TRUE(includes(leaf, index, size, proof, root)) << index << " of " << size;
      ASSERT_FALSE(includes(leafHash("other"), index, size, proof, root));
      ASSERT_FALSE(includes(leaf, index, size, proof, roots[static_cast<std::size_t>(size - 1)]));
      for (std::int64_t other = 0; other < size; ++other)
        ASSERT_EQ(includes(leaf, other, size, proof, root), other == index);
      for (auto& hash : proof) {
        hash[0] = static_cast<char>(hash[0] ^ 1);
        ASSERT_FALSE(includes(leaf, index, size, proof, root));
        hash[0] = static_cast<char>(hash[0] ^ 1);
      }
      proof.push_back(leaf);
      ASSERT_FALSE(includes(leaf, index, size, proof, root));
      proof.pop_back();
      if (!proof.empty()) {
        proof.pop_back();
        ASSERT_FALSE(includes(leaf, index, size, proof, root));
      }
    }
    for (std::int64_t from = 1; from <= size; ++from) {
      const auto& older = roots[static_cast<std::size_t>(from)];
      auto proof = consistencyProof(from, size, log.at());
      ASSERT_TRUE(continues(from, older, size, root, proof)) << from << " to " << size;
      ASSERT_FALSE(continues(from, leafHash("other"), size, root, proof));
      ASSERT_FALSE(continues(from, older, size, leafHash("other"), proof));
      for (auto& hash : proof) {
        hash[5] = static_cast<char>(hash[5] ^ 0x40);
        ASSERT_FALSE(continues(from, older, size, root, proof));
        hash[5] = static_cast<char>(hash[5] ^ 0x40);
      }
      proof.push_back(root);
      ASSERT_FALSE(continues(from, older, size, root, proof));
    }
  }
  EXPECT_FALSE(includes(leaves[0], -1, 1, {}, roots[1]));
  EXPECT_FALSE(includes(leaves[0], 0, 0, {}, roots[0]));
  EXPECT_FALSE(continues(0, roots[0], 5, roots[5], {}));
  EXPECT_THROW((void)inclusionProof(5, 5, log.at()), Error);
  EXPECT_THROW((void)consistencyProof(0, 5, log.at()), Error);
}

const std::string kSeed(32, '\x21');
const std::string kOtherSeed(32, '\x22');
constexpr const char* kOrigin = "aragora/receipts/test";

PublicKey keyOf(const std::string& seed) { return {kOrigin, crypto::ed25519PublicKey(seed)}; }

// The example of the specification: PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW.
TEST(Note, ReadsThePublishedKeyAndNote) {
  const auto key = parsePublicKey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "it");
  EXPECT_EQ(key.name, "PeterNeumann");
  EXPECT_EQ(key.id(), "c74f20a3");
  EXPECT_EQ(key.text(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
  const std::string text =
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
  const auto signature =
      fromBase64("x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=");
  ASSERT_TRUE(signature && signature->size() == 68);
  EXPECT_EQ(toHex(signature->substr(0, 4)), key.id());
  EXPECT_TRUE(crypto::ed25519Verify(key.bytes, text, signature->substr(4)));
}

TEST(Note, TakesAKeyInEveryFormAndNothingElse) {
  const auto key = keyOf(kSeed);
  EXPECT_EQ(parsePublicKey(key.text() + "\n", "it"), key);
  for (const auto& text : {toPem(key), toHex(key.bytes), toBase64(key.bytes)})
    EXPECT_EQ(parsePublicKey(text, "it").bytes, key.bytes) << text;
  for (const auto& text : {std::string(), std::string("abc"), toHex(key.bytes).substr(2),
                           replaceAll(key.text(), "test", "tesT"), std::string("-----BEGIN PUBLIC KEY-----")})
    EXPECT_THROW((void)parsePublicKey(text, "it"), Error) << text;
}

TEST(Note, SignsACheckpointThatIsReadBackAndNoOtherKeySigned) {
  const Checkpoint checkpoint{kOrigin, 3, std::string(32, 'r')};
  const auto note = signCheckpoint(checkpoint, keyOf(kSeed), kSeed);
  const auto read = parseCheckpoint(note, "it");
  EXPECT_EQ(read.checkpoint.origin, kOrigin);
  EXPECT_EQ(read.checkpoint.size, 3);
  EXPECT_EQ(read.checkpoint.root, checkpoint.root);
  EXPECT_EQ(read.signedBy(keyOf(kSeed)), std::optional(true));
  EXPECT_EQ(read.signedBy(keyOf(kOtherSeed)), std::nullopt);
  const auto other = parseCheckpoint(replaceAll(note, "\n3\n", "\n4\n"), "it");
  EXPECT_EQ(other.signedBy(keyOf(kSeed)), std::optional(false));
}

TEST(Note, RefusesACheckpointThatIsCutAnywhere) {
  const auto note = signCheckpoint({kOrigin, 3, std::string(32, 'r')}, keyOf(kSeed), kSeed);
  for (std::size_t length = 0; length < note.size(); ++length)
    EXPECT_THROW((void)parseCheckpoint(note.substr(0, length), "it"), Error) << length;
  for (const auto* size : {"03", "-3", "+3", "", "3 ", "99999999999999999999"})
    EXPECT_THROW((void)parseCheckpoint(replaceAll(note, "\n3\n", fmt::format("\n{}\n", size)), "it"), Error) << size;
}

const std::string kSalt(32, 's');

std::vector<EventRecord> someEvents() {
  return {{1, "debate_created", 0, "", 1000,
           R"({"task":"Ship it?","agents":["a","b"],"rounds":1,"seed":7,"config":{"id":"0a1b"},"v":2})"},
          {2, "debate_start", 0, "", 1001, R"({"task":"Ship it?","seats":["a","b"],"rounds":1,"v":2})"},
          {3, "agent_message", 0, "a", 1002, R"({"role":"proposer","content":"yes, on Friday","v":2})"},
          {4, "vote", 1, "a", 1003, R"({"choice":"a","confidence":80,"reason":"it is mine","v":2})"},
          {5, "vote", 1, "b", 1004, R"({"choice":"a","confidence":60,"reason":"it is better","v":2})"},
          {6, "substitution", 1, "b", 1005, R"({"from":"anthropic","to":"openrouter","why":"down","after_ms":12})"},
          {7, "consensus", 1, "", 1006,
           R"({"reached":true,"agreement":0.75,"leader":"a","method":"majority","answer":"Friday",)"
           R"("dissent":[{"seat":"b","text":"Monday"}],"v":2})"},
          {8, "debate_end", 1, "", 1007, R"({"status":"completed","outcome":"consensus","seconds":1.5,"v":2})"}};
}

DebateRecord someDebate() {
  DebateRecord debate;
  debate.id = "debate-1";
  debate.owner = "user:1";
  debate.context = "a context";
  debate.created_at = 1000;
  debate.started_at = 1001;
  debate.ended_at = 1007;
  debate.events = someEvents();
  debate.chain_head = std::string(64, 'c');
  debate.chain_key = "key";
  debate.budget = Budget{50'000'000'000'000'000, 16'476'000'000, 0, 0};
  debate.served = {{"a", "demo", "demo", 3, 0, 10, 20},
                   {"b", "openrouter", "x/y", 2, 1, 10, 20, 0, {"gen-1", "gen-2", "gen-3"}}};
  return debate;
}

struct Rotated {
  std::string from;
  std::string to;
};

// A log of five, the third of which is ours.
json::object bundleOf(const std::string& seed, const std::vector<Rotated>& rotations = {},
                      const std::string& checkpoint_seed = kSeed) {
  Grown log;
  for (const auto* other : {"one", "two"}) log.add(leafHash(other));
  const auto receipt = makeReceipt(someDebate(), {kOrigin, 2, leafHash("two")}, keyOf(seed).id(), kSalt, {"9", "abc"});
  const auto bytes = canonical(receipt);
  log.add(leafHash(bytes));
  for (const auto* other : {"four", "five"}) log.add(leafHash(other));
  json::array hashes;
  for (const auto& hash : inclusionProof(2, 5, log.at())) hashes.emplace_back(toHex(hash));
  json::array statements;
  for (const auto& [from, to] : rotations) {
    const auto statement = makeRotation(kOrigin, keyOf(from).bytes, keyOf(to).bytes, 5000);
    const auto said = canonical(statement);
    statements.push_back(json::object{{"statement", statement},
                                      {"signed_by_previous", toBase64(crypto::ed25519Sign(from, said))},
                                      {"signed_by_next", toBase64(crypto::ed25519Sign(to, said))}});
  }
  json::array events;
  for (const auto& event : someEvents())
    events.push_back(json::object{{"seq", event.seq},
                                  {"type", event.type},
                                  {"round", event.round},
                                  {"seat", event.seat},
                                  {"at", event.at},
                                  {"payload", event.payload}});
  return {{"schema", kBundleSchema},
          {"receipt", receipt},
          {"signature", toBase64(crypto::ed25519Sign(seed, bytes))},
          {"inclusion", json::object{{"index", 2}, {"size", 5}, {"hashes", hashes}}},
          {"checkpoint", signCheckpoint({kOrigin, 5, rootOf(5, log.at())}, keyOf(checkpoint_seed), checkpoint_seed)},
          {"rotations", statements},
          {"contents",
           json::object{{"salt", toHex(kSalt)}, {"owner", "user:1"}, {"context", "a context"}, {"events", events}}}};
}

std::string wrongIn(const Verdict& verdict) {
  std::vector<std::string> wrong;
  for (const auto& finding : verdict.findings) {
    if (!finding.holds) wrong.push_back(finding.subject);
  }
  return join(wrong, " ");
}

std::string wrongIn(const json::object& bundle, const Trust& trust = {{keyOf(kSeed)}, {}}) {
  return wrongIn(verifyBundle(toJson(bundle), trust));
}

TEST(Receipt, HoldsAndSaysWhatItIsOf) {
  const auto verdict = verifyBundle(toPrettyJson(bundleOf(kSeed)), {{keyOf(kSeed)}, {}});
  EXPECT_TRUE(verdict.holds()) << wrongIn(verdict);
  EXPECT_EQ(verdict.debate_id, "debate-1");
  EXPECT_EQ(verdict.index, 2);
  EXPECT_EQ(verdict.winner, "a");
  EXPECT_TRUE(verdict.with_contents);
}

TEST(Receipt, HoldsNoContent) {
  const auto text = canonical(bundleOf(kSeed).at("receipt"));
  for (const auto* said : {"Ship it", "Friday", "Monday", "it is mine", "it is better", "user:1", "a context", "down"})
    EXPECT_EQ(text.find(said), std::string::npos) << said;
  for (const auto* shown : {"\"choice\":\"a\"", "\"confidence\":80", "\"agreement\":\"0.75\"", "\"to\":\"openrouter\"",
                            "\"seed\":7", "\"settled\":\"16476000000\"", "\"type\":\"substitution\""})
    EXPECT_NE(text.find(shown), std::string::npos) << shown;
  // What was said in digits is content too.
  const auto projected = canonical(
      project({7, "consensus", 1, "", 1006,
               R"({"reached":true,"agreement":0.75,"leader":"a","answer":"42","dissent":[{"seat":"b","text":"-3.14"}],)"
               R"("ballots":[{"seat":"a","choice":"a","confidence":80,"reason":"1969-07-20"}]})"},
              kSalt));
  for (const auto* said : {"\"42\"", "-3.14", "1969-07-20"}) EXPECT_EQ(projected.find(said), std::string::npos) << said;
  for (const auto* shown : {"\"agreement\":\"0.75\"", "\"confidence\":80", "\"choice\":\"a\""})
    EXPECT_NE(projected.find(shown), std::string::npos) << shown;
}

TEST(Receipt, SaysUnderWhichSettingsAndNumbersInTheClear) {
  const auto bundle = bundleOf(kSeed);
  const auto& receipt = bundle.at("receipt").as_object();
  EXPECT_EQ(receipt.at("asked").at("said").at("config").at("id").as_string(), "0a1b");
  EXPECT_FALSE(receipt.at("end").at("said").as_object().contains("config")) << "it is of an earlier version";
  EXPECT_FALSE(receipt.at("seats").at(0).at("served_by").at(0).as_object().contains("request_ids"));
  EXPECT_EQ(toJson(receipt.at("seats").at(1).at("served_by").at(0).at("request_ids")), R"(["gen-1","gen-2","gen-3"])");
}

TEST(Receipt, HoldsWithoutItsContents) {
  auto bundle = bundleOf(kSeed);
  bundle["contents"] = nullptr;
  const auto verdict = verifyBundle(toJson(bundle), {{keyOf(kSeed)}, {}});
  EXPECT_TRUE(verdict.holds()) << wrongIn(verdict);
  EXPECT_FALSE(verdict.with_contents);
}

// Every leaf of the document in turn, and every member taken away.
void eachChange(json::value& value, const std::function<void()>& changed) {
  if (auto* object = value.if_object()) {
    for (auto& member : *object) eachChange(member.value(), changed);
    const auto before = *object;
    for (const auto& member : before) {
      object->erase(member.key());
      changed();
      *object = before;
    }
    (*object)["more"] = 1;
    changed();
    *object = before;
    return;
  }
  if (auto* array = value.if_array()) {
    for (auto& element : *array) eachChange(element, changed);
    const auto before = *array;
    for (std::size_t i = 0; i < before.size(); ++i) {
      array->erase(array->begin() + static_cast<std::ptrdiff_t>(i));
      changed();
      *array = before;
    }
    array->emplace_back(json::object{});
    changed();
    *array = before;
    return;
  }
  const auto before = value;
  if (const auto* text = before.if_string()) {
    for (const std::size_t at : {std::size_t{0}, text->size() / 2, text->size() - 1}) {
      if (at >= text->size()) continue;
      auto other = std::string(*text);
      other[at] = other[at] == 'A' ? 'B' : 'A';
      value = other;
      changed();
    }
    value = std::string(*text) + " ";
    changed();
  } else if (before.is_int64()) {
    value = before.get_int64() + 1;
    changed();
  } else if (before.is_bool()) {
    value = !before.get_bool();
    changed();
  } else {
    value = 0;
    changed();
  }
  value = before;
}

TEST(Receipt, IsRefusedWithAnyLeafChangedAnyMemberGoneOrAnyAdded) {
  for (const bool with_contents : {true, false}) {
    json::value bundle = bundleOf(kSeed, {{kSeed, kOtherSeed}});
    if (!with_contents) bundle.as_object()["contents"] = nullptr;
    const Trust trust{{keyOf(kSeed)}, {}};
    ASSERT_TRUE(verifyBundle(toJson(bundle), trust).holds());
    int looked = 0;
    eachChange(bundle, [&] {
      ++looked;
      const auto text = toJson(bundle);
      bool holds = false;
      try {
        holds = verifyBundle(text, trust).holds();
      } catch (const Error&) {
      }
      // What is there to be taken out: the contents as a whole, and statements about keys that are not needed.
      const auto& object = bundle.as_object();
      const bool allowed = (object.contains("contents") && object.at("contents").is_null() && with_contents) ||
                           (object.contains("rotations") && object.at("rotations").is_array() &&
                            object.at("rotations").as_array().empty());
      ASSERT_TRUE(!holds || allowed) << text;
    });
    EXPECT_GT(looked, with_contents ? 300 : 200);
  }
}

TEST(Receipt, NamesTheBallotThatWasChanged) {
  auto bundle = bundleOf(kSeed);
  bundle.at("receipt").as_object().at("ballots").as_array()[1].as_object().at("said").as_object()["choice"] = "b";
  EXPECT_EQ(wrongIn(bundle), "signature receipt/ballots/1 inclusion receipt/ballots/1/said/choice");
}

TEST(Receipt, NamesTheProofTheCheckpointAndTheEvent) {
  auto proof = bundleOf(kSeed);
  auto& hash = proof.at("inclusion").as_object().at("hashes").as_array()[0].as_string();
  hash[0] = hash[0] == '0' ? '1' : '0';
  EXPECT_EQ(wrongIn(proof), "inclusion");
  auto event = bundleOf(kSeed);
  event.at("contents").as_object().at("events").as_array()[3].as_object()["payload"] =
      R"({"choice":"a","confidence":81,"reason":"it is mine","v":2})";
  EXPECT_EQ(wrongIn(event), "receipt/ballots/0/said/confidence receipt/events/root");
  auto note = bundleOf(kSeed);
  note["checkpoint"] = replaceAll(std::string(note.at("checkpoint").as_string()), "\n5\n", "\n6\n");
  EXPECT_EQ(wrongIn(note), "checkpoint");
}

TEST(Receipt, IsRefusedUnderAnotherKeyOrWithASignatureOfAnother) {
  EXPECT_EQ(wrongIn(bundleOf(kSeed), {{keyOf(kOtherSeed)}, {}}), "receipt/key_id signature checkpoint");
  auto forged = bundleOf(kSeed);
  forged["signature"] = toBase64(crypto::ed25519Sign(kOtherSeed, canonical(forged.at("receipt"))));
  EXPECT_EQ(wrongIn(forged), "signature");
  EXPECT_NE(wrongIn(bundleOf(kSeed), {{{"another/log", keyOf(kSeed).bytes}}, {}}), "");
}

TEST(Receipt, HoldsUnderAKeyThatFollowedOrCameBefore) {
  const std::string third(32, '\x23');
  const auto later = bundleOf(third, {{kSeed, kOtherSeed}, {kOtherSeed, third}}, third);
  EXPECT_EQ(wrongIn(later), "");
  const auto earlier = bundleOf(kSeed, {{kSeed, kOtherSeed}, {kOtherSeed, third}}, third);
  EXPECT_EQ(wrongIn(earlier, {{keyOf(third)}, {}}), "");
  const auto missing = bundleOf(third, {{kOtherSeed, third}}, third);
  EXPECT_NE(wrongIn(missing), "");
  auto forged = bundleOf(third, {{kSeed, third}}, third);
  auto& rotation = forged.at("rotations").as_array()[0].as_object();
  rotation["signed_by_previous"] = rotation.at("signed_by_next");
  EXPECT_NE(wrongIn(forged), "");
}

TEST(Receipt, IsHeldAgainstACheckpointThatWasKept) {
  const auto bundle = bundleOf(kSeed);
  const auto same = parseCheckpoint(bundle.at("checkpoint").as_string(), "it");
  EXPECT_EQ(wrongIn(bundle, {{keyOf(kSeed)}, same}), "");
  const auto kept = [&](std::int64_t size, const std::string& seed) {
    return parseCheckpoint(signCheckpoint({kOrigin, size, std::string(32, 'x')}, keyOf(seed), seed), "it");
  };
  for (const auto& other : {kept(5, kSeed), kept(1, kSeed), kept(4, kSeed), kept(5, kOtherSeed)})
    EXPECT_EQ(wrongIn(bundle, {{keyOf(kSeed)}, other}), "kept checkpoint");
}

}  // namespace
}  // namespace aragora::receipts
