#include "daemon/providers/provider.h"

#include "common/base/text.h"

namespace aragora::providers {

namespace key = config::key;

Providers::Providers(const config::Config& config)
    : demo_(makeDemoProvider()), openai_model_(config.text(key::kOpenAiModel)) {
  const bool own_server = config.isSet(key::kOpenAiBaseUrl);  // a local server may need no key
  if (config.isSet(key::kOpenAiKey) || own_server) {
    openai_ = makeOpenAiProvider({config.text(key::kOpenAiBaseUrl), config.secret(key::kOpenAiKey), openai_model_,
                                  std::chrono::seconds(config.integer(key::kCallTimeout))});
  }
}

std::optional<Providers::Seat> Providers::find(const std::string& agent, std::string& why) const {
  if (agent == "demo" || startsWith(agent, "demo-")) return Seat{demo_.get(), "demo"};
  const bool openai =
      agent == "openai" || startsWith(agent, "openai:") || startsWith(agent, "openai-") || startsWith(agent, "gpt-");
  if (openai && openai_) {
    if (startsWith(agent, "openai:")) return Seat{openai_.get(), agent.substr(7)};
    return Seat{openai_.get(), startsWith(agent, "gpt-") ? agent : openai_model_};
  }
  why = openai ? "OPENAI_API_KEY is not configured"
               : "no provider of this version speaks for it (demo-…, openai, openai:MODEL)";
  return std::nullopt;
}

std::vector<Providers::Listing> Providers::available() const {
  std::vector<Listing> result;
  for (const auto* name : {"demo-optimist", "demo-skeptic", "demo-pragmatist"})
    result.push_back({name, "demo", "demo"});
  if (openai_) result.push_back({"openai", "openai", openai_model_});
  return result;
}

}  // namespace aragora::providers
