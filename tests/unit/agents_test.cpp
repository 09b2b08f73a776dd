#include <gtest/gtest.h>

#include "common/config/agents.h"

namespace aragora::config {
namespace {

Config with(const std::map<std::string_view, std::string>& values) {
  Config config;
  for (const auto& [name, value] : values) config.add(name, {Secret(value), {Source::Environment, "test"}});
  return config;
}

TEST(Agents, AreKnownByTheirNames) {
  struct Case {
    const char* name;
    Provider provider;
    const char* model;
  };
  for (const auto& one : {Case{"claude", Provider::Anthropic, ""},
                          Case{"anthropic", Provider::Anthropic, ""},
                          Case{"anthropic-api", Provider::Anthropic, ""},
                          Case{"anthropic:m-1", Provider::Anthropic, "m-1"},
                          Case{"claude-opus-5-5", Provider::Anthropic, "claude-opus-5-5"},
                          Case{"openai", Provider::OpenAi, ""},
                          Case{"openai-api", Provider::OpenAi, ""},
                          Case{"openai:llama3:8b", Provider::OpenAi, "llama3:8b"},
                          Case{"gpt-4o", Provider::OpenAi, "gpt-4o"},
                          Case{"openrouter", Provider::OpenRouter, ""},
                          Case{"openrouter/qwen/qwen-3:free", Provider::OpenRouter, "qwen/qwen-3:free"},
                          Case{"openrouter:x/y", Provider::OpenRouter, "x/y"},
                          Case{"demo", Provider::Demo, "demo"},
                          Case{"demo-anything", Provider::Demo, "demo"},
                          Case{"gemini", Provider::Gemini, ""},
                          Case{"gemini-skeptic", Provider::Gemini, ""},
                          Case{"gemini-2.5-pro", Provider::Gemini, "gemini-2.5-pro"},
                          Case{"gemini:x", Provider::Gemini, "x"},
                          Case{"local", Provider::Local, ""},
                          Case{"local:llama3:8b", Provider::Local, "llama3:8b"},
                          Case{"local-skeptic", Provider::Local, ""}}) {
    const auto agent = parseAgent(one.name);
    ASSERT_TRUE(agent) << one.name;
    EXPECT_EQ(agent->provider, one.provider) << one.name;
    EXPECT_EQ(agent->model, one.model) << one.name;
  }
  for (const auto* nobody : {"", "nobody", "demonstration", "demo-", "openaix", "openai:", "openai-", "openrouter/",
                             "openrouter-", "claude-", "gpt-", "anthropicx", "Claude"})
    EXPECT_FALSE(parseAgent(nobody)) << nobody;
}

TEST(Agents, OfADebateThatNamesNoneAreThoseWhoseKeysAreThere) {
  using Names = std::vector<std::string>;
  const Names demo{"demo-optimist", "demo-skeptic", "demo-pragmatist"};
  const std::pair<std::string_view, std::string> production{key::kEnvironment, "production"};
  EXPECT_EQ(defaultAgents(with({})), demo);
  EXPECT_EQ(defaultAgents(with({{key::kDemo, "false"}})), Names{});
  EXPECT_EQ(defaultAgents(with({{key::kAnthropicKey, "k"}})),
            (Names{"anthropic", "anthropic-skeptic", "anthropic-pragmatist"}));
  EXPECT_EQ(defaultAgents(with({{key::kAnthropicKey, "k"}, {key::kOpenRouterKey, "k"}})),
            (Names{"anthropic", "openrouter", "anthropic-skeptic"}));
  EXPECT_EQ(defaultAgents(with({{key::kAnthropicKey, "k"}, {key::kOpenRouterKey, "k"}, {key::kOpenAiKey, "k"}})),
            (Names{"anthropic", "openai", "openrouter"}));
  EXPECT_EQ(defaultAgents(with({{key::kOpenAiBaseUrl, "http://localhost:1/v1"}})).front(), "openai");
  EXPECT_EQ(defaultAgents(with({production})), Names{});
  EXPECT_EQ(defaultAgents(with({production, {key::kDemo, "true"}})), Names{});
  EXPECT_EQ(defaultAgents(with({production, {key::kDemo, "true"}, {key::kDefaultAgents, "demo-a,claude"}})),
            Names{"claude"});
  EXPECT_EQ(defaultAgents(with({{key::kDefaultAgents, "demo-a,claude"}})), (Names{"demo-a", "claude"}));
  for (const auto& name : defaultAgents(with({{key::kOpenRouterKey, "k"}}))) EXPECT_TRUE(parseAgent(name)) << name;
}

TEST(Agents, SayWhoCanReallyBeAsked) {
  const std::pair<std::string_view, std::string> production{key::kEnvironment, "production"};
  EXPECT_EQ(name(agentsState(with({}))), "available");
  EXPECT_EQ(name(agentsState(with({{key::kDemo, "off"}}))), "none");
  EXPECT_EQ(name(agentsState(with({production}))), "none");
  EXPECT_EQ(name(agentsState(with({production, {key::kDemo, "on"}}))), "demo_only");
  for (const auto key : {key::kAnthropicKey, key::kOpenAiKey, key::kOpenRouterKey, key::kOpenAiBaseUrl})
    EXPECT_EQ(name(agentsState(with({production, {key, "x"}}))), "available") << key;
  EXPECT_EQ(whyNotAsked(with({}), Provider::Anthropic), "ANTHROPIC_API_KEY is not configured");
  EXPECT_NE(whyNotAsked(with({production}), Provider::Demo), "");
  EXPECT_EQ(whyNotAsked(with({}), Provider::Local), "providers.local_base_url is not configured");
  EXPECT_EQ(whyNotAsked(with({{key::kAnthropicToken, "t"}}), Provider::Anthropic), "");
}

TEST(Agents, AreNotAskedInClearOnOtherMachines) {
  const auto why = [](const std::string& url, const std::string& allowed) {
    return whyNotAsked(with({{key::kLocalBaseUrl, url}, {key::kPlainHttp, allowed}}), Provider::Local);
  };
  for (const auto* url : {"http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:1", "https://192.0.2.1/v1"})
    EXPECT_EQ(why(url, "false"), "") << url;
  for (const auto* url : {"http://192.0.2.1/v1", "http://ollama:11434/v1", "HTTP://example.org"}) {
    EXPECT_NE(why(url, "false").find("http:// to another machine"), std::string::npos) << url;
    EXPECT_EQ(why(url, "true"), "") << url;
  }
}

}  // namespace
}  // namespace aragora::config
