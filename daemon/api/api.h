// The resources of the API. Each file adds its routes to the router; handlers take a request apart, call the domain and
// render the answer. Services outlive the router.
#pragma once

#include "common/accounts/accounts.h"
#include "common/crypto/keyring.h"
#include "common/metrics/metrics.h"
#include "common/store/debate_pages.h"
#include "daemon/api/list_cache.h"
#include "daemon/debate/engine.h"
#include "daemon/http/router.h"
#include "daemon/lifecycle/prober.h"

namespace aragora::api {

struct Services {
  const config::Config& config;
  accounts::Accounts& accounts;
  database::Database& database;
  store::Debates& debates;
  store::DebatePages& pages;
  store::Ratings& ratings;
  const providers::Providers& providers;
  debate::Engine& engine;
  metrics::Registry& metrics;
  const lifecycle::Prober& prober;
  const crypto::Keyring& keyring;
  ListCache& lists;
};

void addHealthRoutes(http::Router& router, const Services& services);
void addDebateRoutes(http::Router& router, const Services& services);
void addAgentRoutes(http::Router& router, const Services& services);
void addAccountRoutes(http::Router& router, const Services& services);
void addMetricsRoute(http::Router& router, const Services& services);
void addOpenApiRoutes(http::Router& router);

}  // namespace aragora::api
