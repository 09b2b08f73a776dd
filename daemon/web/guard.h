// What stands between a parsed request and its handler, in this order: request id, client address, route, origin, query
// parameters, rate limit; then, in a worker where it takes the database, the caller and its permission. Around every
// answer: CORS and security headers, errors rendered in one place, metrics. Thread-safe; reload() swaps the settings.
#pragma once

#include <memory>

#include "common/base/reloadable.h"
#include "common/metrics/metrics.h"
#include "common/net/address.h"
#include "daemon/edge/exchange.h"
#include "daemon/web/authenticator.h"
#include "daemon/web/cors.h"
#include "daemon/web/rate_limiter.h"
#include "daemon/web/refusal_log.h"
#include "daemon/web/router.h"

namespace aragora::web {

// Applied on reload.
struct GuardSettings {
  Cors cors;
  std::vector<net::Block> trusted_proxies;
  std::int64_t requests_per_minute = 120;
};

class Guard : public edge::Site {
 public:
  // All of them outlive it.
  Guard(GuardSettings settings, const Authenticator& authenticator, const Router& router, RefusalLog& refusals,
        metrics::Registry& metrics);

  std::unique_ptr<edge::Exchange> open(edge::Request request) override;
  void reload(GuardSettings settings);

 private:
  class Exchange;
  const Authenticator& authenticator_;
  const Router& router_;
  RefusalLog& refusals_;
  metrics::Registry& metrics_;
  RateLimiter limiter_;
  Reloadable<GuardSettings> settings_;
};

}  // namespace aragora::web
