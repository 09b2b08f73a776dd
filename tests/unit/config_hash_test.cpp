#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/base/scratch.h"
#include "common/config/loader.h"
#include "common/crypto/hash.h"
#include "common/deployment/config_hash.h"

namespace aragora::deployment {
namespace {

config::Config given(const std::map<std::string, std::string>& environment, const std::string& file = {}) {
  config::Environment variables;
  for (const auto& [name, value] : environment) variables[name] = {value, "env " + name};
  auto loaded = config::loadFrom({}, variables, file, "");
  config::requireNoProblems(loaded.problems);
  return std::move(loaded.config);
}

std::string hashOf(const config::Config& config) { return configHash(config, config); }
std::string hashOf(const std::map<std::string, std::string>& environment) { return hashOf(given(environment)); }

TEST(ConfigHash, IsOfWhatIsSetToSomethingElseThanItsDefault) {
  const auto config = given({{"ARAGORA_MAX_ROUNDS", "7"}, {"ARAGORA_DEBATE_DEADLINE_SECONDS", "77"}});
  EXPECT_EQ(toJson(hashedSettings(config, config)), R"({"debates.deadline_seconds":"77","debates.max_rounds":"7"})");
  EXPECT_EQ(hashOf(config), crypto::sha256Hex(R"({"debates.deadline_seconds":"77","debates.max_rounds":"7"})"));
  EXPECT_EQ(hashOf(std::map<std::string, std::string>{}), crypto::sha256Hex("{}"));
  const auto& fallback = config::findSetting(config::key::kMaxRounds)->fallback;
  EXPECT_EQ(hashOf({{"ARAGORA_MAX_ROUNDS", std::string(fallback)}}), crypto::sha256Hex("{}"));
  EXPECT_NE(hashOf({{"ARAGORA_MAX_ROUNDS", "8"}}), hashOf({{"ARAGORA_MAX_ROUNDS", "7"}}));
}

TEST(ConfigHash, IsTheSameWhereverAndHoweverTheSettingsAreWritten) {
  const TemporaryDirectory directory;
  const auto file = (directory.path() / "aragora.toml").string();
  writeFileAtomically(
      file, "[providers]\nfallback = false\n[debates]\nmax_rounds = 7\n[models]\nallowed = [\"a\", \"b\"]\n", 0600);
  EXPECT_EQ(hashOf(given({}, file)), hashOf({{"ARAGORA_OPENROUTER_FALLBACK_ENABLED", "no"},
                                             {"ARAGORA_MAX_ROUNDS", "7"},
                                             {"ARAGORA_MODELS_ALLOWED", "a, b"}}));
}

TEST(ConfigHash, IsTheSameOnAllMachinesOfADeployment) {
  EXPECT_EQ(hashOf({{"ARAGORA_BIND_HOST", "::1"},
                    {"ARAGORA_PORT", "8181"},
                    {"ARAGORA_METRICS_LISTEN", "127.0.0.1:9"},
                    {"ARAGORA_STATE_DIR", "/srv/one"},
                    {"ARAGORA_BACKUP_DIR", "/srv/two"}}),
            crypto::sha256Hex("{}"));
}

TEST(ConfigHash, HasNoSecretInIt) {
  EXPECT_EQ(hashOf({{"OPENAI_API_KEY", "sk-0123456789abcdef0123"}, {"REDIS_URL", "redis://:geheim@redis:6379"}}),
            crypto::sha256Hex("{}"));
  const auto behind = [](const std::string& password) {
    return given({{"OPENAI_BASE_URL", "https://me:" + password + "@gateway.example/v1"}});
  };
  const auto config = behind("one-password");
  const auto hashed = toJson(hashedSettings(config, config));
  EXPECT_EQ(hashed.find("one-password"), std::string::npos);
  EXPECT_NE(hashed.find("gateway.example"), std::string::npos);
  EXPECT_EQ(hashOf(config), hashOf(behind("another-one")));
}

TEST(ConfigHash, IsOfWhatIsInEffectAndNotOfWhatWaitsForARestart) {
  const auto before = given({{"ARAGORA_MAX_ROUNDS", "7"}, {"ARAGORA_DAILY_BUDGET_USD", "5"}});
  const auto after = given({{"ARAGORA_MAX_ROUNDS", "9"}, {"ARAGORA_DAILY_BUDGET_USD", "6"}});
  EXPECT_EQ(toJson(hashedSettings(before, after)), R"({"budget.daily_usd":"6","debates.max_rounds":"7"})");
}

}  // namespace
}  // namespace aragora::deployment
