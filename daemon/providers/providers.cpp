#include "common/base/text.h"
#include "daemon/providers/remote.h"

namespace aragora::providers {

namespace key = config::key;

namespace {
std::unique_ptr<Codec> codecFor(config::Provider provider, CodecOptions options) {
  if (provider == config::Provider::Anthropic) return makeAnthropicCodec(std::move(options));
  if (provider == config::Provider::OpenRouter) return makeOpenRouterCodec(std::move(options));
  return makeOpenAiCodec(std::move(options));
}
}  // namespace

Providers::Providers(const config::Config& config) {
  for (const auto& info : config::networkProviders()) {
    Entry entry{nullptr, config.text(info.model), config::whyNotAsked(config, info.provider)};
    if (entry.why.empty())
      entry.provider = makeRemoteProvider(
          {std::string(info.name),
           config.text(info.base_url),
           entry.model,
           std::chrono::seconds(config.integer(key::kCallTimeout)),
           {}},
          codecFor(info.provider, {config.secret(info.api_key), config.integer(key::kMaxOutputTokens)}), client_);
    entries_.emplace(info.provider, std::move(entry));
  }
  Entry demo{nullptr, "demo", config::whyNotAsked(config, config::Provider::Demo)};
  if (demo.why.empty()) demo.provider = makeDemoProvider();
  entries_.emplace(config::Provider::Demo, std::move(demo));
  reload(config);
}

Providers::~Providers() = default;

void Providers::reload(const config::Config& config) {
  auto agents = config::defaultAgents(config);
  const std::lock_guard lock(mutex_);
  default_agents_ = std::move(agents);
}

std::vector<std::string> Providers::defaultAgents() const {
  const std::lock_guard lock(mutex_);
  return default_agents_;
}

std::optional<Providers::Seat> Providers::find(const std::string& agent, std::string& why) const {
  const auto parsed = config::parseAgent(agent);
  if (!parsed) {
    why = "nobody speaks for it (claude, anthropic:MODEL, openai, openai:MODEL, openrouter/MODEL, demo-…)";
    return std::nullopt;
  }
  const auto& entry = entries_.at(parsed->provider);
  why = entry.why;
  if (!entry.provider) return std::nullopt;
  return Seat{entry.provider.get(), parsed->model.empty() ? entry.model : parsed->model};
}

std::vector<Providers::Listing> Providers::available() const {
  std::vector<Listing> result;
  for (const auto& [provider, entry] : entries_) {
    if (!entry.provider) continue;
    const std::string name(config::name(provider));
    if (provider != config::Provider::Demo) {
      result.push_back({name, name, entry.model});
      continue;
    }
    for (const auto* agent : {"demo-optimist", "demo-skeptic", "demo-pragmatist"})
      result.push_back({agent, name, entry.model});
  }
  return result;
}

}  // namespace aragora::providers
