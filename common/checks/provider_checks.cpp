// Who can be asked in a debate, by configuration: no provider is called.
#include "common/base/text.h"
#include "common/checks/settings_checks.h"
#include "common/config/agents.h"
#include "common/config/strength.h"

namespace aragora::checks {

namespace key = config::key;

namespace {
// What is wrong with the key of a provider; nullopt when nothing can be seen to be.
std::optional<Finding> keyProblem(const config::Config& config, const config::ProviderInfo& provider) {
  if (!config.resolved(provider.api_key)) return std::nullopt;
  const auto variable = config.variable(provider.api_key);
  const auto secret = config.secret(provider.api_key);
  const auto& text = secret.reveal();
  if (const auto reason = config::placeholderReason(text))
    return misconfigured(fmt::format("{}: {}", variable, *reason), config.origin(provider.api_key).text,
                         "put the provider's real key there, or unset it");
  // Another server at the base URL has keys of its own.
  const auto prefix = config.isSet(provider.base_url) ? std::string_view() : provider.key_prefix;
  if (startsWith(text, prefix) && text.size() >= 16 && text.find_first_of(" \t\"'") == std::string::npos)
    return std::nullopt;
  return misconfigured(
      fmt::format("{}: does not look like a key of {} ({}{})", variable, provider.name,
                  counted(text.size(), "character"), prefix.empty() ? "" : fmt::format(", they start with {}", prefix)),
      config.origin(provider.api_key).text, "copy it again from the provider's console");
}

// Debates that name no agents ask these.
std::vector<Finding> checkDefaultAgents(const config::Config& config) {
  std::vector<Finding> findings;
  if (!config.isSet(key::kDefaultAgents)) return findings;
  const auto variable = config.variable(key::kDefaultAgents);
  const auto origin = config.origin(key::kDefaultAgents).text;
  for (const auto& name : config.list(key::kDefaultAgents)) {
    const auto agent = config::parseAgent(name);
    const bool demo = agent && agent->provider == config::Provider::Demo;
    if (!agent) {
      findings.push_back(misconfigured(
          fmt::format("{}: '{}' cannot be asked: {}", variable, printable(name, 60), config::whyNobody(name)), origin,
          "write the name of an agent that somebody speaks for"));
    } else if (demo && config.production()) {
      findings.push_back(misconfigured(fmt::format("{}: '{}' is a demo; in production they answer only who names them",
                                                   variable, printable(name, 60)),
                                       origin, "name agents of a provider, or unset it"));
    } else if (const auto why = config::whyNotAsked(config, agent->provider); !why.empty()) {
      findings.push_back(misconfigured(fmt::format("{}: '{}' cannot be asked: {}", variable, printable(name, 60), why),
                                       origin, "configure it, or name others"));
    }
  }
  return findings;
}

Finding nobodyConfigured(const config::Config& config) {
  if (config.production())
    return misconfigured("AI provider: neither ANTHROPIC_API_KEY nor OPENAI_API_KEY is usable", "not set",
                         "set one of them, best as ANTHROPIC_API_KEY_FILE");
  if (config::agentsState(config) == config::AgentsState::None)
    return misconfigured(fmt::format("AI provider: none configured, and {} is off: nobody can be asked", key::kDemo),
                         config.origin(key::kDemo).text, "set ANTHROPIC_API_KEY, or turn the demo on");
  return skipped("AI provider: none configured (the demo provider answers)");
}
}  // namespace

std::vector<Finding> checkProviders(const Context& context) {
  const auto& config = context.config;
  std::vector<Finding> findings;
  std::vector<std::string> usable;
  for (const auto& provider : config::networkProviders()) {
    if (const auto said = alreadySaid(context, provider.api_key, "AI provider")) findings.push_back(*said);
    if (!config::whyNotAsked(config, provider.provider).empty()) continue;
    const auto problem = config.isSet(provider.api_key) ? keyProblem(config, provider) : std::nullopt;
    if (problem)
      findings.push_back(*problem);
    else
      usable.emplace_back(provider.name);
  }
  const bool primary =
      std::any_of(usable.begin(), usable.end(), [](const std::string& name) { return name != "openrouter"; });
  if (primary || (!usable.empty() && !config.production())) {
    findings.insert(findings.begin(), ok(fmt::format("AI provider: {} configured", join(usable, ", "))));
  } else if (findings.empty()) {
    findings.push_back(nobodyConfigured(config));
  }
  if (config.production() && config.flag(key::kDemo))
    findings.push_back(warning(
        fmt::format("{}: on in production; who names a demo agent is answered by one", config.variable(key::kDemo)),
        config.origin(key::kDemo).text, "turn it off"));
  for (auto& finding : checkDefaultAgents(config)) findings.push_back(std::move(finding));
  return findings;
}

// Recommended only: who has a provider has what is required.
std::vector<Finding> checkFallback(const Context& context) {
  const auto& config = context.config;
  if (config.isSet(key::kOpenRouterKey)) return {ok("AI fallback: OpenRouter configured")};
  if (!config.production()) return {skipped("AI fallback: none, which only production needs")};
  return {warning("OPENROUTER_API_KEY: not set; there is no fallback when the provider fails", "not set",
                  "set OPENROUTER_API_KEY")};
}

}  // namespace aragora::checks
