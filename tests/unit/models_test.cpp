#include <gtest/gtest.h>

#include "common/base/moment.h"
#include "common/base/text.h"
#include "common/models/catalogue.h"

namespace aragora::models {
namespace {

const Micros kNow = *parseDay("2026-11-28");

Model known(std::string_view provider, std::string_view id) {
  const auto found = Catalogue::builtIn().find(provider, id, kNow);
  EXPECT_TRUE(found) << id;
  return found.value_or(Model{});
}

std::vector<std::string> problemsOf(const std::string& text) {
  std::vector<config::Problem> problems;
  Catalogue::parse(text, "m.toml", problems);
  std::vector<std::string> result;
  for (const auto& problem : problems) result.push_back(problem.origin + " " + problem.message);
  return result;
}

const std::string kEntry =
    "[[model]]\nprovider = \"openai\"\nid = \"m\"\nfamily = \"f\"\neffective_from = \"2026-01-01\"\ninput = 3\noutput "
    "= "
    "7\nsource = \"s\"\nchecked_on = \"2026-01-02\"\n";

TEST(Models, CostWhatTheirVendorsSay) {
  EXPECT_EQ(cost(known("anthropic", "claude-opus-5-5"), {.input = 1234, .cache_read = 1000, .output = 567}),
            16'476'000'000);
  EXPECT_EQ(cost(known("openai", "gpt-6-astra"), {.input = 300'000, .output = 1'000}), 6'075'000'000'000);
  // Up to the border one price, above it another for all of it; what was cached counts.
  EXPECT_EQ(cost(known("openai", "gpt-6-sol"), {.input = 272'000}), 544'000'000'000);
  EXPECT_EQ(cost(known("openai", "gpt-6-sol"), {.input = 1, .cache_read = 272'000}), 4'000'000 + 108'800'000'000);
  EXPECT_EQ(cost(known("anthropic", "claude-opus-5-5"), {.cache_write_5m = 10, .cache_write_1h = 10}), 130'000'000);
  EXPECT_EQ(cost(known("demo", "demo"), {.input = 5, .output = 5}), 0);
}

TEST(Models, AreOfTheSameFamilyWhoeverServesThem) {
  const auto& all = Catalogue::builtIn();
  for (const auto& [provider, id, family] : {std::tuple("anthropic", "claude-opus-5-5", "claude"),
                                             {"openrouter", "anthropic/claude-opus-5.5", "claude"},
                                             {"anthropic", "claude-opus-5-5-20261101", "claude"},
                                             {"openai", "gpt-6-luna", "gpt"},
                                             {"local", "gpt-oss:20b", "gpt"},
                                             {"local", "Llama3:8b", "llama"},
                                             {"openrouter", "meta/llama-5", "llama"},
                                             {"local", "7b", "local"},
                                             {"local", "", "local"},
                                             {"demo", "demo", "demo"},
                                             {"sim", "sim", "sim"}})
    EXPECT_EQ(all.familyOf(provider, id, kNow), family) << id;
}

TEST(Models, CostNothingThatCannotBeSaid) {
  const auto haiku = known("anthropic", "claude-haiku-5-5");
  EXPECT_EQ(cost(haiku, {.input = 100'000}), 10'000'000'000);
  EXPECT_FALSE(cost(haiku, {.input = 100'001}));
  EXPECT_FALSE(reservation(haiku, 100'000, 10));
  const auto opus = known("anthropic", "claude-opus-5-5");
  EXPECT_FALSE(cost(opus, {.input = -1}));
  EXPECT_FALSE(cost(opus, {.output = -1}));
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_FALSE(cost(opus, {.input = kMost}));
  EXPECT_FALSE(cost(opus, {.input = kMost, .cache_read = kMost}));
  EXPECT_FALSE(reservation(opus, kMost, 1));
  EXPECT_FALSE(reservation(opus, 1, kMost));
  EXPECT_FALSE(reservation(opus, -1, 1));
}

// Whatever a request of so many bytes turns out to be, it costs no more than was reserved.
TEST(Models, NeverCostMoreThanWasReserved) {
  for (const auto& model : Catalogue::builtIn().models()) {
    for (const std::int64_t bytes : {0, 1, 1000, 99'000, 272'000, 273'000, 1'000'000}) {
      const auto reserved = reservation(model, bytes, 500);
      if (!reserved) continue;
      for (int kind = 0; kind < 4; ++kind) {
        for (const auto input : {bytes / 5, bytes}) {
          Tokens tokens{.output = 500};
          (kind == 0   ? tokens.input
           : kind == 1 ? tokens.cache_read
           : kind == 2 ? tokens.cache_write_5m
                       : tokens.cache_write_1h) = input;
          const auto costs = cost(model, tokens);
          ASSERT_TRUE(costs) << model.id << bytes;
          EXPECT_LE(*costs, *reserved) << model.id << bytes;
        }
      }
    }
  }
}

TEST(Models, AreFoundByTheirNamesAndAtTheirTime) {
  const auto& catalogue = Catalogue::builtIn();
  EXPECT_EQ(known("anthropic", "claude-haiku-4-5-20251001").id, "claude-haiku-4-5");
  EXPECT_FALSE(catalogue.find("anthropic", "claude-haiku-4-5-20991001", kNow));
  EXPECT_FALSE(catalogue.find("anthropic", "gpt-6-sol", kNow));
  EXPECT_FALSE(catalogue.find("openai", "", kNow));
  EXPECT_FALSE(catalogue.find("openrouter", "", kNow));
  EXPECT_FALSE(catalogue.find("anthropic", "claude-opus-5-5", *parseDay("2020-01-01")));
  const auto routed = known("openrouter", "anthropic/claude-opus-5.5");
  EXPECT_EQ(routed.provider, "openrouter");
  EXPECT_EQ(routed.prices.input, 4'000'000);
  std::vector<config::Problem> problems;
  const auto own =
      Catalogue::parse(kEntry + replaceAll(replaceAll(kEntry, "input = 3", "input = 4"), "2026-01-01", "2026-06-01"),
                       "m.toml", problems);
  EXPECT_EQ(own.find("openai", "m", *parseDay("2026-05-31"))->prices.input, 3);
  EXPECT_EQ(own.find("openai", "m", *parseDay("2026-06-01"))->prices.input, 4);
}

TEST(Models, OfAnOwnFileGoBeforeThoseBuiltIn) {
  std::vector<config::Problem> problems;
  const auto own = Catalogue::parse(replaceAll(kEntry, "\"m\"", "\"gpt-6-sol\""), "m.toml", problems);
  ASSERT_TRUE(problems.empty());
  const auto merged = Catalogue::builtIn().with(own);
  EXPECT_EQ(merged.find("openai", "gpt-6-sol", kNow)->prices.input, 3);
  EXPECT_EQ(merged.find("openai", "gpt-6-sol", kNow)->origin, "m.toml:1");
  EXPECT_TRUE(merged.find("openai", "gpt-6-astra", kNow));
  EXPECT_EQ(merged.models().size(), Catalogue::builtIn().models().size());
}

TEST(Models, AFileThatIsWrongNamesFileLineAndKey) {
  const auto with = [](const std::string& line) { return problemsOf(kEntry + line + "\n"); };
  using Lines = std::vector<std::string>;
  EXPECT_EQ(with("cache_raed = 1"), Lines{"m.toml:10 cache_raed is no key of a model"});
  EXPECT_EQ(with("cache_read = -1"), Lines{"m.toml:10 cache_read is no whole number from 0 to 10000000000"});
  EXPECT_EQ(with("cache_read = \"1\""), Lines{"m.toml:10 cache_read is no whole number from 0 to 10000000000"});
  EXPECT_EQ(with("cache_read = 1.5").at(0), "m.toml:10 cache_read has a value of a kind that is not taken here");
  EXPECT_EQ(with("supports = [\"magic\"]"), Lines{"m.toml:10 supports has 'magic', which is no ability"});
  EXPECT_EQ(with("long_input_percent = 200\nlong_output_percent = 200"),
            Lines{"m.toml:1 long_context_above is missing"});
  EXPECT_EQ(with("long_context_above = 5\nlong_input_percent = 150\nlong_output_percent = 100"),
            Lines{"m.toml:11 long_input_percent makes a price with a fraction"});
  EXPECT_EQ(problemsOf(replaceAll(kEntry, "input = 3\n", "")), Lines{"m.toml:1 input is missing"});
  EXPECT_EQ(problemsOf(replaceAll(kEntry, "openai", "opnai")), Lines{"m.toml:2 provider is 'opnai', which is none"});
  EXPECT_EQ(problemsOf(replaceAll(kEntry, "2026-01-02", "2026-13-02")), Lines{"m.toml:9 checked_on is no day"});
  EXPECT_EQ(problemsOf(kEntry + kEntry), Lines{"m.toml:10 id 'm' of openai is there twice"});
  EXPECT_FALSE(problemsOf("[[model]\n").empty());
  EXPECT_FALSE(problemsOf("id = 3\n").empty());
}

TEST(Models, AreAllowedByPattern) {
  EXPECT_TRUE(allowed({}, "openai", "gpt-6-sol"));
  EXPECT_TRUE(allowed({"claude-*", "gpt-6-sol"}, "openai", "gpt-6-sol"));
  EXPECT_TRUE(allowed({"claude-*"}, "anthropic", "claude-opus-5-5"));
  EXPECT_TRUE(allowed({"openrouter:meta/*"}, "openrouter", "meta/llama"));
  EXPECT_FALSE(allowed({"claude-*"}, "openai", "gpt-6-sol"));
  EXPECT_FALSE(allowed({"openrouter:meta/*"}, "local", "meta/llama"));
}

}  // namespace
}  // namespace aragora::models
