// A provider on the network: a codec for what is said, common/net for how it gets there, and one retry loop.
#pragma once

#include "common/net/retry.h"
#include "daemon/providers/codec/codec.h"

namespace aragora::providers {

struct RemoteOptions {
  std::string name;
  std::string base_url;
  std::string default_model;
  std::chrono::seconds call_timeout{30};
  net::RetryPolicy retry{};
};

// Throws Error(Config) for a base URL that is none. `client` outlives it.
std::unique_ptr<Provider> makeRemoteProvider(RemoteOptions options, std::unique_ptr<Codec> codec,
                                             const net::HttpClient& client);

}  // namespace aragora::providers
