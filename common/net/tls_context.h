// Private to common/net: what Poco needs.
#pragma once

#include <Poco/Crypto/X509Certificate.h>
#include <Poco/Net/Context.h>

#include <optional>

#include "common/net/tls.h"

namespace aragora::net {

class TlsContext {
 public:
  explicit TlsContext(const TlsOptions& options);
  Poco::Net::Context::Ptr context;
  std::optional<Poco::Crypto::X509Certificate> pinned;
};

}  // namespace aragora::net
