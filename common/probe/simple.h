// Single looks at other hosts, for checks: one request, one port, one certificate. Each ends by its deadline and throws
// Error(Unreachable) with the reason.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "common/base/clock.h"
#include "common/base/secret.h"
#include "common/net/tls.h"

namespace aragora::probe {

struct Reply {
  int status = 0;
  std::string body;
};
// Throws Error(Usage) for what is no http or https URL. `bearer` is for this machine's own daemon.
Reply fetch(const std::string& url, const net::TlsOptions& tls, std::chrono::milliseconds timeout,
            const Secret& bearer = {});

void reachPort(const std::string& host, std::uint16_t port, std::chrono::milliseconds timeout);

// Of a certificate that is trusted for the host; of one that is not, why it is not.
struct ShownCertificate {
  Micros not_after = 0;
  std::string untrusted{};
};
ShownCertificate certificateOf(const std::string& host, std::uint16_t port, const std::string& authorities,
                               std::chrono::milliseconds timeout);

}  // namespace aragora::probe
