#include "common/base/text.h"
#include "daemon/providers/remote.h"

namespace aragora::providers {

namespace {
std::unique_ptr<Codec> codecFor(config::Provider provider, CodecOptions options) {
  if (provider == config::Provider::Anthropic) return makeAnthropicCodec(std::move(options));
  if (provider == config::Provider::OpenRouter) return makeOpenRouterCodec(std::move(options));
  return makeOpenAiCodec(std::move(options));
}
}  // namespace

Providers::Providers(ProvidersOptions options) : default_agents_(options.default_agents) {
  entries_ = entriesOf(std::move(options));
}

Providers::Entries Providers::entriesOf(ProvidersOptions options) const {
  Entries entries;
  for (auto& remote : options.remotes) {
    Entry entry{nullptr, std::move(remote.model), std::move(remote.why_not)};
    if (entry.why.empty())
      entry.provider = makeRemoteProvider(
          {std::string(config::name(remote.provider)), remote.base_url, entry.model, options.call_timeout, {}},
          codecFor(remote.provider, {std::move(remote.api_key), options.max_output_tokens}), client_);
    entries.emplace(remote.provider, std::move(entry));
  }
  Entry demo{nullptr, "demo", std::move(options.why_no_demo)};
  if (demo.why.empty()) demo.provider = makeDemoProvider();
  entries.emplace(config::Provider::Demo, std::move(demo));
  return entries;
}

void Providers::reload(ProvidersOptions options) {
  auto fresh = entriesOf(std::move(options));
  const std::lock_guard lock(mutex_);
  retired_.push_back(std::exchange(entries_, std::move(fresh)));
}

Providers::~Providers() = default;

std::optional<Providers::Seat> Providers::find(const std::string& agent, std::string& why) const {
  const auto parsed = config::parseAgent(agent);
  if (!parsed) {
    why = config::whyNobody(agent);
    return std::nullopt;
  }
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(parsed->provider);
  if (found == entries_.end()) {
    why = fmt::format("{} is not configured", config::name(parsed->provider));
    return std::nullopt;
  }
  const auto& entry = found->second;
  why = entry.why;
  if (!entry.provider) return std::nullopt;
  return Seat{entry.provider.get(), parsed->model.empty() ? entry.model : parsed->model};
}

std::vector<Providers::Listing> Providers::available() const {
  std::vector<Listing> result;
  const std::lock_guard lock(mutex_);
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
