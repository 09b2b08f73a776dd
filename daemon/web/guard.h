// What stands between a parsed request and its handler, in this order: request id, client address, origin (CORS),
// rate limit, credentials; and around the answer: security headers on every one, errors rendered in one place, metrics.
// Thread-safe; reload() swaps the reloadable part.
#pragma once

#include <shared_mutex>

#include "common/accounts/accounts.h"
#include "common/config/config.h"
#include "common/metrics/metrics.h"
#include "daemon/web/rate_limiter.h"
#include "daemon/web/router.h"

namespace aragora::web {

class Guard {
 public:
  Guard(const config::Config& config, const Router& router, metrics::Registry& metrics, accounts::Accounts& accounts);
  void reload(const config::Config& config);

  // Fills request id, client address and `secure` from headers and the peer's address.
  void identify(Request& request, const std::string& peer) const;
  struct Route {
    const web::Route* route = nullptr;  // absent: `answer` is the answer
    std::optional<Response> answer;
  };
  // Everything that can be decided without the body.
  Route admit(Request& request);
  // The dispatcher's catch-all: runs the handler and renders what it throws. With an access token it first asks the
  // database for the session, so it may block.
  Response run(const web::Route& route, const Request& request) const;
  // The route's cached answer, when it has one; mistakes in the request are left to the handler to name.
  static std::optional<Response> runCached(const web::Route& route, const Request& request);
  // Adds the headers every answer has, and counts it.
  void finish(const Request& request, const web::Route* route, Response& response, double seconds);

  bool originAllowed(std::string_view origin) const;
  // "token" when `token` is the configured one, empty otherwise; in development without a token everyone is
  // "anonymous".
  std::string authenticate(std::string_view token) const;

 private:
  struct Settings {
    std::vector<std::string> origins;
    std::vector<std::string> trusted_proxies;
    bool production = false;
    Secret api_token;
  };
  bool trusted(const std::string& address) const;
  // Who sends the request, into the request. Throws Error(Unauthorized).
  void identifyCaller(Request& request) const;
  void requireSession(const web::Route& route, const Request& request) const;
  void addCors(const Request& request, Response& response) const;

  const Router& router_;
  metrics::Registry& metrics_;
  accounts::Accounts& accounts_;
  RateLimiter limiter_;
  mutable std::shared_mutex mutex_;
  Settings settings_;
};

// 429 with the headers that say when to come back.
Response rateLimited(const RateLimiter::Decision& decision, const std::string& what, const std::string& request_id);

// Whether `address` lies in `block` (an address or CIDR, IPv4 or IPv6).
bool inBlock(const std::string& address, const std::string& block);

}  // namespace aragora::web
