#include "common/base/text.h"
#include "daemon/providers/fallback.h"
#include "daemon/providers/remote.h"
#include "daemon/providers/sim.h"

namespace aragora::providers {

namespace {
// Of OpenAI itself, also in a region.
bool vendorsOwn(const std::string& base_url) {
  const auto url = net::Url::parse(base_url);
  return url && (url->host == "api.openai.com" || endsWith(url->host, ".api.openai.com"));
}

std::unique_ptr<Codec> codecFor(const ProvidersOptions::Remote& remote, const ProvidersOptions& all) {
  CodecOptions options{.api_key = remote.api_key,
                       .max_output_tokens = all.max_output_tokens,
                       .bearer = remote.bearer,
                       .headers = remote.headers,
                       .organization = remote.organization,
                       .project = remote.project,
                       .referer = remote.referer,
                       .title = remote.title,
                       .deny_data_collection = remote.deny_data_collection,
                       .vendors_own = vendorsOwn(remote.base_url),
                       .models = all.models};
  if (!remote.version.empty()) options.version = remote.version;
  switch (remote.provider) {
    case config::Provider::Anthropic:
      return makeAnthropicCodec(std::move(options));
    case config::Provider::OpenRouter:
      return makeOpenRouterCodec(std::move(options));
    case config::Provider::Gemini:
      return makeGeminiCodec(std::move(options));
    case config::Provider::Local:
      return makeLocalCodec(std::move(options));
    default:
      return makeOpenAiCodec(std::move(options));
  }
}

std::map<config::Provider, std::unique_ptr<CallSlots>> slotsFor(const ProvidersOptions& options) {
  std::map<config::Provider, std::unique_ptr<CallSlots>> slots;
  for (const auto& remote : options.remotes)
    slots.emplace(remote.provider, std::make_unique<CallSlots>(options.calls_at_once));
  return slots;
}
}  // namespace

Providers::Providers(ProvidersOptions options)
    : on_breaker_(options.on_breaker),
      probe_leases_(options.probe_leases),
      slots_(slotsFor(options)),
      default_agents_(options.default_agents) {
  entries_ = entriesOf(std::move(options));
}

Breaker& Providers::breakerOf(config::Provider provider, const ProvidersOptions& options) {
  auto& breaker = breakers_[provider];
  if (breaker) return *breaker;
  auto rules = provider == config::Provider::OpenRouter ? options.openrouter_breaker : options.breaker;
  rules.longest_lease = options.times.total + kLeaseGrace;
  breaker = std::make_unique<Breaker>(BreakerOptions{.provider = std::string(config::name(provider)),
                                                     .rules = std::move(rules),
                                                     .on_news = on_breaker_,
                                                     .leases = probe_leases_});
  return *breaker;
}

Providers::Entries Providers::entriesOf(ProvidersOptions options) {
  Entries entries;
  for (auto& remote : options.remotes) {
    Entry entry{nullptr, remote.model, remote.why_not};
    if (entry.why.empty())
      entry.provider = makeRemoteProvider({.name = std::string(config::name(remote.provider)),
                                           .base_url = remote.base_url,
                                           .default_model = entry.model,
                                           .times = options.times,
                                           .retry = {.tries = options.retries + 1},
                                           .breaker = &breakerOf(remote.provider, options),
                                           .slots = slots_.at(remote.provider).get()},
                                          codecFor(remote, options), client_);
    entries.emplace(remote.provider, std::move(entry));
  }
  if (options.fallback) addFallback(entries, options);
  Entry sim{nullptr, "", options.why_no_demo};
  if (sim.why.empty()) sim.provider = makeSimProvider();
  entries.emplace(config::Provider::Sim, std::move(sim));
  Entry demo{nullptr, "demo", std::move(options.why_no_demo)};
  if (demo.why.empty()) demo.provider = makeDemoProvider();
  entries.emplace(config::Provider::Demo, std::move(demo));
  return entries;
}

void Providers::addFallback(Entries& entries, const ProvidersOptions& options) {
  const auto other = entries.find(config::Provider::OpenRouter);
  if (other == entries.end() || !other->second.provider) return;
  for (const auto& remote : options.remotes) {
    auto& entry = entries.at(remote.provider);
    if (remote.provider == config::Provider::OpenRouter || !entry.provider) continue;
    entry.provider = makeFallback(std::move(entry.provider), *other->second.provider, fallbacks_,
                                  {entry.model, remote.falls_back, options.fallback_models});
  }
}

void Providers::reload(ProvidersOptions options) {
  const std::lock_guard lock(mutex_);
  auto fresh = entriesOf(std::move(options));
  retired_.push_back(std::exchange(entries_, std::move(fresh)));
}

std::vector<Providers::Condition> Providers::conditions() const {
  struct Known {
    std::string model;
    Breaker* breaker;
    CallSlots::Numbers calls;
  };
  std::vector<Known> known;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [provider, entry] : entries_) {
      const auto found = breakers_.find(provider);
      if (entry.provider && found != breakers_.end())
        known.push_back({entry.model, found->second.get(), slots_.at(provider)->numbers()});
    }
  }
  std::vector<Condition> all;
  all.reserve(known.size());
  for (auto& one : known) all.push_back({std::move(one.model), one.breaker->state(), one.calls});
  return all;
}

Breaker* Providers::breaker(std::string_view provider) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [known, breaker] : breakers_) {
    if (config::name(known) == provider) return breaker.get();
  }
  return nullptr;
}

void Providers::forgetBlocked() {
  const std::lock_guard lock(mutex_);
  for (const auto& [provider, breaker] : breakers_) breaker->credentialChanged();
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
  if (parsed->provider == config::Provider::Sim && why.empty() && !parseSimulated(parsed->model, why))
    return std::nullopt;
  if (!entry.provider) return std::nullopt;
  return Seat{entry.provider.get(), parsed->model.empty() ? entry.model : parsed->model};
}

std::vector<Providers::Listing> Providers::available() const {
  std::vector<Listing> result;
  const std::lock_guard lock(mutex_);
  for (const auto& [provider, entry] : entries_) {
    if (!entry.provider || provider == config::Provider::Sim) continue;
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
