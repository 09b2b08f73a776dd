// Who can be asked in a debate, by configuration: no provider is called.
#include "common/base/money.h"
#include "common/base/text.h"
#include "common/checks/settings_checks.h"
#include "common/config/agents.h"
#include "common/config/strength.h"
#include "common/models/catalogue.h"
#include "common/net/header_lines.h"
#include "common/net/url.h"

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

// "claude-x=anthropic/claude-x", of which anything else would be passed by in silence.
std::vector<Finding> checkFallbackModels(const config::Config& config) {
  std::vector<Finding> findings;
  for (const auto& entry : config.list(key::kFallbackModels)) {
    const auto equals = entry.find('=');
    if (equals != std::string::npos && equals > 0 && entry.find('/', equals) != std::string::npos) continue;
    findings.push_back(misconfigured(fmt::format("{}: '{}' does not say which model stands for which",
                                                 config.variable(key::kFallbackModels), printable(entry, 80)),
                                     config.origin(key::kFallbackModels).text,
                                     "write claude-opus-5-5=anthropic/claude-opus-5.5"));
  }
  return findings;
}

// What is written of a provider and keeps it from being asked, besides its key.
void checkWay(const config::Config& config, const config::ProviderInfo& provider, std::vector<Finding>& findings) {
  const auto url = net::Url::parse(config.text(provider.base_url));
  const bool asked = config.isSet(provider.api_key) || config.isSet(provider.base_url);
  if (asked && url && url->scheme == "http" && !config::loopbackHost(url->host) && !config.flag(key::kPlainHttp))
    findings.push_back(
        misconfigured(fmt::format("{}: http:// to another machine: its key and all questions could be read on the way",
                                  config.variable(provider.base_url)),
                      config.origin(provider.base_url).text,
                      fmt::format("use https://, or set {} when the network is trusted", key::kPlainHttp)));
}

void checkHeaders(const config::Config& config, std::string_view setting, std::vector<Finding>& findings) {
  if (!config.isSet(setting) || !config.resolved(setting)) return;
  const auto lines = net::parseHeaderLines(config.secret(setting).reveal());
  if (!lines.problem.empty())
    findings.push_back(misconfigured(fmt::format("{}: {}", config.variable(setting), lines.problem),
                                     config.origin(setting).text, "one Name: value a line"));
}

std::vector<Finding> checkBudgets(const config::Config& config) {
  std::vector<Finding> findings;
  for (const auto setting : {key::kDebateBudget, key::kAccountBudget, key::kDailyBudget}) {
    if (!config.isSet(setting) || config.text(setting).empty() || parseUsd(config.text(setting))) continue;
    findings.push_back(misconfigured(fmt::format("{}: '{}' is no amount of US dollars", config.variable(setting),
                                                 printable(config.text(setting), 40)),
                                     config.origin(setting).text, "write it as 12.50, without a sign or a unit"));
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
    checkWay(config, provider, findings);
    if (!config::whyNotAsked(config, provider.provider).empty()) continue;
    const auto problem = config.isSet(provider.api_key) ? keyProblem(config, provider) : std::nullopt;
    if (problem)
      findings.push_back(*problem);
    else
      usable.emplace_back(provider.name);
  }
  for (const auto setting : {key::kAnthropicHeaders, key::kOpenAiHeaders}) checkHeaders(config, setting, findings);
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
  for (auto& finding : checkFallbackModels(config)) findings.push_back(std::move(finding));
  for (auto& finding : checkBudgets(config)) findings.push_back(std::move(finding));
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

// Prices that a cap rests on: readable, known for what is asked, and not from long ago.
std::vector<Finding> checkModels(const Context& context) {
  constexpr Micros kOld = 180LL * 24 * 3600 * 1'000'000;
  const auto& config = context.config;
  std::vector<config::Problem> problems;
  const auto models = models::Catalogue::load(config, problems);
  std::vector<Finding> findings;
  for (const auto& problem : problems)
    findings.push_back(misconfigured("AI models: " + problem.message, problem.origin, problem.hint));
  if (!findings.empty()) return findings;
  const auto now = nowMicros();
  for (const auto& provider : config::networkProviders()) {
    if (!config::whyNotAsked(config, provider.provider).empty()) continue;
    const auto id = config.text(provider.model);
    const auto model = models.find(provider.name, id, now);
    if (!model)
      findings.push_back(skipped(fmt::format(
          "AI models: what {}:{} costs is not known, so that no debate with a budget asks it", provider.name, id)));
    else if (now - model->checked_on > kOld)
      findings.push_back(warning(fmt::format("AI models: what {}:{} costs was last looked up on {}", provider.name, id,
                                             toIso(model->checked_on).substr(0, 10)),
                                 model->origin, "look at " + model->source + ", and write it into models.toml"));
  }
  findings.insert(findings.begin(), ok(fmt::format("AI models: {} known", counted(models.models().size(), "price"))));
  return findings;
}

}  // namespace aragora::checks
