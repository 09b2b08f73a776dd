// A provider in front of another: what the first cannot do, the other is asked, once, for a model of the same family.
// The answer says who gave it. Nothing is asked again once a part was handed over, nor what would be refused by
// anybody: a request that is wrong, a model that does not want to answer.
#pragma once

#include "daemon/providers/provider.h"

namespace aragora::providers {

// As OpenRouter calls a model of another vendor: "claude-opus-5-5" of "anthropic" is "anthropic/claude-opus-5.5". Empty
// where nobody can know.
std::string openRouterModel(std::string_view provider, std::string_view model);

struct FallbackOptions {
  std::string default_model;  // of the first, for a question that names none
  bool any_model = true;      // otherwise those named here only
  std::map<std::string, std::string> models{};
};
// `other` and `counts` outlive it.
std::unique_ptr<Provider> makeFallback(std::unique_ptr<Provider> first, Provider& other, FallbackCounts& counts,
                                       FallbackOptions options);

}  // namespace aragora::providers
