// Private to common/net: what Poco needs.
#pragma once

#include <Poco/Net/Context.h>

#include "common/net/tls.h"

namespace aragora::net {

class TlsContext {
 public:
  explicit TlsContext(const TlsOptions& options);
  Poco::Net::Context::Ptr context;
};

}  // namespace aragora::net
