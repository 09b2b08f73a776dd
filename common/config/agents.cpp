#include "common/config/agents.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/names.h"
#include "common/base/text.h"
#include "common/net/url.h"

namespace aragora::config {

namespace {
constexpr ProviderInfo kProviders[] = {
    {Provider::Anthropic, "anthropic", key::kAnthropicKey, key::kAnthropicBaseUrl, key::kAnthropicModel, "sk-ant-"},
    {Provider::OpenAi, "openai", key::kOpenAiKey, key::kOpenAiBaseUrl, key::kOpenAiModel, "sk-"},
    {Provider::Gemini, "gemini", key::kGeminiKey, key::kGeminiBaseUrl, key::kGeminiModel, ""},
    {Provider::Local, "local", key::kLocalKey, key::kLocalBaseUrl, key::kLocalModel, ""},
    {Provider::OpenRouter, "openrouter", key::kOpenRouterKey, key::kOpenRouterBaseUrl, key::kOpenRouterModel, "sk-or-"},
};
constexpr Names<AgentsState, 3> kAgentsStates{
    {{AgentsState::Available, "available"}, {AgentsState::DemoOnly, "demo_only"}, {AgentsState::None, "none"}}};
constexpr std::size_t kSeats = 3;
constexpr std::string_view kRoles[] = {"", "-skeptic", "-pragmatist"};

bool demoOn(const Config& config) { return config.isSet(key::kDemo) ? config.flag(key::kDemo) : !config.production(); }

const ProviderInfo& infoOf(Provider provider) {
  const auto* found = std::find_if(std::begin(kProviders), std::end(kProviders),
                                   [&](const ProviderInfo& info) { return info.provider == provider; });
  ARAGORA_CHECK(found != std::end(kProviders));
  return *found;
}

// Keys and questions do not cross a network where all can read them, unless the operator says so.
std::string inClear(const Config& config, const ProviderInfo& info) {
  if (config.flag(key::kPlainHttp)) return {};
  const auto url = net::Url::parse(config.text(info.base_url));
  if (!url || url->scheme != "http" || loopbackHost(url->host)) return {};
  return fmt::format("{} is http:// to another machine; use https://, or set {}", config.variable(info.base_url),
                     key::kPlainHttp);
}

// "anthropic", "anthropic-ROLE", "anthropic:MODEL".
std::optional<Agent> named(std::string_view agent, std::string_view own, Provider provider) {
  if (!startsWith(agent, own)) return std::nullopt;
  const auto rest = agent.substr(own.size());
  if (rest.empty()) return Agent{provider, {}};
  if (rest.size() == 1) return std::nullopt;
  if (rest[0] == ':') return Agent{provider, std::string(rest.substr(1))};
  return rest[0] == '-' ? std::optional(Agent{provider, {}}) : std::nullopt;
}
}  // namespace

std::span<const ProviderInfo> networkProviders() { return kProviders; }

std::string_view name(Provider provider) {
  if (provider == Provider::Demo) return "demo";
  return provider == Provider::Sim ? "sim" : infoOf(provider).name;
}

std::optional<Agent> parseAgent(std::string_view agent) {
  // Models that say whose they are.
  if (startsWith(agent, "claude-") && agent.size() > 7) return Agent{Provider::Anthropic, std::string(agent)};
  if (startsWith(agent, "gpt-") && agent.size() > 4) return Agent{Provider::OpenAi, std::string(agent)};
  if (startsWith(agent, "gemini-") && agent.size() > 7 && agent[7] >= '0' && agent[7] <= '9')
    return Agent{Provider::Gemini, std::string(agent)};
  constexpr std::string_view kRouted = "openrouter/";
  if (startsWith(agent, kRouted) && agent.size() > kRouted.size())
    return Agent{Provider::OpenRouter, std::string(agent.substr(kRouted.size()))};
  if (const auto found = named(agent, "claude", Provider::Anthropic)) return found;
  for (const auto& info : kProviders) {
    if (const auto found = named(agent, info.name, info.provider)) return found;
  }
  if (agent == "demo" || (startsWith(agent, "demo-") && agent.size() > 5)) return Agent{Provider::Demo, "demo"};
  constexpr std::string_view kSimulated = "sim:";
  if (agent == "sim") return Agent{Provider::Sim, {}};
  if (startsWith(agent, kSimulated)) return Agent{Provider::Sim, std::string(agent.substr(kSimulated.size()))};
  return std::nullopt;
}

std::string whyNobody(std::string_view agent) {
  struct Elsewhere {
    std::string_view prefix;
    std::string_view provider;
  };
  // Common names in debates, of providers that are reached by way of OpenRouter or not at all.
  static constexpr Elsewhere kElsewhere[] = {
      {"grok", "xAI"}, {"mistral", "Mistral"}, {"deepseek", "DeepSeek"}, {"qwen", "Alibaba"}, {"kimi", "Moonshot"}};
  std::string why = "nobody speaks for it";
  for (const auto& known : kElsewhere) {
    if (startsWith(agent, known.prefix))
      why = fmt::format(
          "it needs the provider {}, which this version does not have; openrouter/VENDOR/MODEL may reach it",
          known.provider);
  }
  return why + " (claude, anthropic:MODEL, openai, openai:MODEL, gemini, local:MODEL, openrouter/MODEL, demo-…)";
}

std::string whyNotAsked(const Config& config, Provider provider) {
  if (provider == Provider::Demo || provider == Provider::Sim)
    return demoOn(config) ? "" : fmt::format("demo agents do not answer here ({} is off)", key::kDemo);
  const auto& info = infoOf(provider);
  if (auto clear = inClear(config, info); !clear.empty()) return clear;
  if (provider == Provider::Local)
    return config.isSet(info.base_url) ? "" : fmt::format("{} is not configured", info.base_url);
  const bool own_server = provider == Provider::OpenAi && config.isSet(info.base_url);  // may need no key
  const bool token = provider == Provider::Anthropic && config.isSet(key::kAnthropicToken);
  if (config.isSet(info.api_key) || own_server || token) return {};
  return fmt::format("{} is not configured", findSetting(info.api_key)->environment.front());
}

std::vector<Provider> askedProviders(const Config& config) {
  std::vector<Provider> result;
  for (const auto& info : kProviders) {
    if (whyNotAsked(config, info.provider).empty()) result.push_back(info.provider);
  }
  return result;
}

std::vector<std::string> defaultAgents(const Config& config) {
  if (config.isSet(key::kDefaultAgents)) {
    auto agents = config.list(key::kDefaultAgents);
    // In production only a request may ask for a demo, which a default is not.
    if (config.production())
      std::erase_if(agents, [](const std::string& agent) {
        const auto parsed = parseAgent(agent);
        return parsed && (parsed->provider == Provider::Demo || parsed->provider == Provider::Sim);
      });
    return agents;
  }
  const auto providers = askedProviders(config);
  std::vector<std::string> agents;
  if (providers.empty()) {
    if (!config.production() && demoOn(config)) agents = {"demo-optimist", "demo-skeptic", "demo-pragmatist"};
    return agents;
  }
  // Different models first: they are what makes a debate worth having.
  for (const auto role : kRoles) {
    for (const auto provider : providers) {
      if (agents.size() < kSeats) agents.push_back(fmt::format("{}{}", name(provider), role));
    }
  }
  return agents;
}

std::string_view name(AgentsState state) { return nameIn(kAgentsStates, state); }

AgentsState agentsState(const Config& config) {
  if (!askedProviders(config).empty()) return AgentsState::Available;
  if (!demoOn(config)) return AgentsState::None;
  return config.production() ? AgentsState::DemoOnly : AgentsState::Available;
}

}  // namespace aragora::config
