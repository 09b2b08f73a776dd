// Who can be asked: the providers, the settings that make each of them available, and the agents that are theirs by
// name. The one answer for validate-env, readiness and the daemon itself. Pure, any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/config.h"

namespace aragora::config {

enum class Provider { Anthropic, OpenAi, Gemini, Local, OpenRouter, Demo, Sim };  // the last two are built in

struct ProviderInfo {
  Provider provider;
  std::string_view name;
  std::string_view api_key;  // settings
  std::string_view base_url;
  std::string_view model;
  std::string_view key_prefix;  // of the keys that its own endpoint takes
};
// Those on the network, in the order in which they are preferred.
std::span<const ProviderInfo> networkProviders();
std::string_view name(Provider provider);

struct Agent {
  Provider provider = Provider::Demo;
  std::string model;  // empty: the one that is configured
};
// "claude", "anthropic-skeptic", "anthropic:MODEL", "claude-…", "openai", "gpt-…", "gemini-…", "local:MODEL",
// "openrouter/VENDOR/MODEL", "demo-…", "sim:p=0.7";// nullopt for a name that is nobody's.
std::optional<Agent> parseAgent(std::string_view name);

// Of a name that is nobody's: which provider it would take, and who does speak here.
std::string whyNobody(std::string_view agent);
// Why it cannot be asked here; empty when it can.
std::string whyNotAsked(const Config& config, Provider provider);
// The network's providers that can be asked.
std::vector<Provider> askedProviders(const Config& config);

// The agents of a debate that names none: those configured, otherwise three of the providers whose keys are there;
// demo agents only outside production, without any key. Empty when there is nobody.
std::vector<std::string> defaultAgents(const Config& config);

// What readiness says. DemoOnly: production where requests may name demo agents and nobody else.
enum class AgentsState { Available, DemoOnly, None };
std::string_view name(AgentsState state);
AgentsState agentsState(const Config& config);

}  // namespace aragora::config
