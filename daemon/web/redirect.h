// Sends whoever comes without TLS to https (308: the method stays): only for hosts that are ours, so that nobody is
// sent anywhere by a Host of somebody else's. Thread-safe; reload() swaps the options.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/reloadable.h"
#include "common/crypto/certificate.h"
#include "daemon/edge/exchange.h"

namespace aragora::web {

struct RedirectOptions {
  std::vector<std::string> hosts;                        // without ports, in lower case
  std::optional<crypto::CertificateReport> certificate;  // its names are ours, too
  std::uint16_t port = 0;                                // of https, as clients see it; 0: the usual one
};

// "example.org:8080" and "[::1]:80" are "example.org" and "::1"; in lower case.
std::string hostWithoutPort(std::string_view authority);

class Redirect : public edge::Site {
 public:
  explicit Redirect(RedirectOptions options) : options_(std::move(options)) {}
  std::unique_ptr<edge::Exchange> open(edge::Request request) override;
  void reload(RedirectOptions options) { options_.set(std::move(options)); }
  RedirectOptions options() const { return *options_.get(); }

 private:
  class Exchange;
  std::optional<std::string> locationOf(const edge::Request& request) const;
  Reloadable<RedirectOptions> options_;
};

}  // namespace aragora::web
