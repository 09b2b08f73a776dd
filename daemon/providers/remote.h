// A provider on the network: a codec for what is said, common/net for how it gets there, one retry loop, and a circuit
// breaker that is asked before every try and told what came of it.
#pragma once

#include "common/net/retry.h"
#include "daemon/providers/codec/codec.h"

namespace aragora::providers {

inline constexpr Span kLeaseGrace{5000};  // of a probe, after its call's deadline

struct RemoteOptions {
  std::string name;
  std::string base_url;
  std::string default_model;
  CallTimes times{};
  net::RetryPolicy retry{};
  Breaker* breaker = nullptr;  // none: every call is let through. Outlives the provider.
  CallSlots* slots = nullptr;  // none: as many calls at once as come. The same.
};

// Throws Error(Config) for a base URL that is none. `client` outlives it. What it asks fails with Failure, or with
// Error(Interrupted) when it is stopped.
std::unique_ptr<Provider> makeRemoteProvider(RemoteOptions options, std::unique_ptr<Codec> codec,
                                             const net::HttpClient& client);

}  // namespace aragora::providers
