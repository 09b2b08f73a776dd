// What stands between a parsed request and its handler, in this order: request id, client address, rate limits, asked
// of all instances, for whatever is not a route that is never counted; route, origin, query parameters; then, in a
// worker where it takes the database, the caller, its permission and its own limits. What is malformed counts as well.
// Around every answer: CORS and security headers, errors rendered in one place, metrics. Thread-safe; reload() swaps
// the settings.
#pragma once

#include <atomic>
#include <map>
#include <memory>

#include "common/base/reloadable.h"
#include "common/metrics/metrics.h"
#include "common/net/address.h"
#include "daemon/edge/exchange.h"
#include "daemon/web/authenticator.h"
#include "daemon/web/cors.h"
#include "daemon/web/limits.h"
#include "daemon/web/refusal_log.h"
#include "daemon/web/router.h"

namespace aragora::web {

// Applied on reload.
struct GuardSettings {
  Cors cors;
  std::vector<net::Block> trusted_proxies;
  // Requests a minute of each client; 0 is no limit.
  std::map<Bucket, std::int64_t> per_minute = {{Bucket::Address, 120}};
  bool access_log = true;
  bool step_up = false;  // administrators have to prove a second factor
};

// The endpoint of what leads nowhere, and the limit of what a route's own code refuses, as labels of metrics.
inline constexpr std::string_view kNowhere = "unmatched";
inline constexpr std::string_view kOfRoute = "route";

class Guard : public edge::Site {
 public:
  // All of them outlive it.
  // `memory_scarce`: counted routes are refused while it says so. Null: nobody watches.
  Guard(GuardSettings settings, const Authenticator& authenticator, const Router& router, Limits& limits,
        RefusalLog& refusals, metrics::Registry& metrics, const std::atomic<bool>* memory_scarce = nullptr);

  std::unique_ptr<edge::Exchange> open(edge::Request request) override;
  void reload(GuardSettings settings);

 private:
  class Exchange;
  const Authenticator& authenticator_;
  const Router& router_;
  Limits& limits_;
  RefusalLog& refusals_;
  metrics::Registry& metrics_;
  const std::atomic<bool>* memory_scarce_;
  metrics::Counter received_;
  metrics::Counter sent_;
  metrics::Counter shed_for_memory_;
  Reloadable<GuardSettings> settings_;
};

}  // namespace aragora::web
