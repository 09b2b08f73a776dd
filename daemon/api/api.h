// The resources of the API. Each file adds its routes to the router; handlers take a request apart, call the domain and
// render the answer. Services outlive the router.
#pragma once

#include "common/accounts/accounts.h"
#include "common/accounts/api_keys.h"
#include "common/accounts/self_service.h"
#include "common/accounts/tickets.h"
#include "common/crypto/keyring.h"
#include "common/metrics/metrics.h"
#include "common/store/debate_pages.h"
#include "common/store/receipts.h"
#include "common/store/standings.h"
#include "daemon/api/list_cache.h"
#include "daemon/api/reports.h"
#include "daemon/debate/service.h"
#include "daemon/debate/spending.h"
#include "daemon/lifecycle/prober.h"
#include "daemon/web/router.h"

namespace aragora::api {

struct Options {
  std::int64_t logins_per_minute = 5;         // that fail, from one network
  std::int64_t max_rounds = 5;                // of a debate
  bool registration = false;                  // anybody may make an account
  debate::Quota quota;                        // of accounts that are no administrator's
  std::vector<std::string> models_allowed{};  // to them; empty: all
};

struct Services {
  Options options;
  accounts::Accounts& accounts;
  accounts::ApiKeys& api_keys;
  accounts::Tickets& tickets;
  accounts::SelfService& self_service;
  database::Database& database;
  store::Debates& debates;
  store::DebatePages& pages;
  store::Standings& standings;
  store::Receipts& receipts;
  const providers::Providers& providers;
  debate::Service& debating;
  const debate::Spending& spending;
  metrics::Registry& metrics;
  const lifecycle::Prober& prober;
  const crypto::Keyring& keyring;
  ListCache& lists;
  Reports& reports;
  web::Limits& limits;
  std::function<json::object()> shown_settings;  // in effect, secrets as fingerprints; with their hash
  std::function<json::array()> instances;        // that live, this one among them
};

void addHealthRoutes(web::Router& router, const Services& services);
void addDebateRoutes(web::Router& router, const Services& services);
void addBudgetRoutes(web::Router& router, const Services& services);
void addDebateViewRoutes(web::Router& router, const Services& services);
void addDebateChangeRoutes(web::Router& router, const Services& services);
void addReceiptRoutes(web::Router& router, const Services& services);
void addAgentRoutes(web::Router& router, const Services& services);
void addLeaderboardRoutes(web::Router& router, const Services& services);
void addAccountRoutes(web::Router& router, const Services& services);
void addApiKeyRoutes(web::Router& router, const Services& services);
void addSelfServiceRoutes(web::Router& router, const Services& services);
void addSecondFactorRoutes(web::Router& router, const Services& services);
void addAdminRoutes(web::Router& router, const Services& services);
void addBreakerRoutes(web::Router& router, const Services& services);
void addMetricsRoute(web::Router& router, const Services& services);
// What `aragora providers` asks the daemon for as well.
json::array breakersOf(const providers::Providers& providers);
// Last: it describes the routes that are there.
void addOpenApiRoutes(web::Router& router);

}  // namespace aragora::api
