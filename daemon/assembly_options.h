// What each part is told of the configuration: the one place where settings become the parts' own options.
#pragma once

#include "common/accounts/accounts.h"
#include "common/backup/continuous.h"
#include "common/config/loader.h"
#include "common/drill/recovery_state.h"
#include "daemon/api/api.h"
#include "daemon/cluster/sisters.h"
#include "daemon/edge/listener.h"
#include "daemon/edge/tls.h"
#include "daemon/lifecycle/prober.h"
#include "daemon/lifecycle/problem_watch.h"
#include "daemon/providers/provider.h"
#include "daemon/web/authenticator.h"
#include "daemon/web/guard.h"
#include "daemon/web/redirect.h"
#include "daemon/ws/hub.h"

namespace aragora::daemon {

web::GuardSettings guardSettings(const config::Config& config);
web::AuthenticatorOptions authenticatorOptions(const config::Config& config);
// Those that answer beside the API; null for those that there are none of.
struct Sites {
  edge::Site* metrics = nullptr;
  edge::Site* redirect = nullptr;
};
// Whether /metrics has a door of its own.
bool metricsApart(const config::Config& config);
edge::ListenerOptions listenerOptions(const config::Config& config, edge::TlsContext* tls, const Sites& sites);
// nullptr where no certificate is configured. Throws as edge::TlsContext does.
std::unique_ptr<edge::TlsContext> tlsContext(const config::Config& config);
edge::TlsFiles tlsFiles(const config::Config& config);
// Of what is in the two files; empty when there are none, or they cannot be read.
std::string certificateFingerprint(const config::Config& config);
web::RedirectOptions redirectOptions(const config::Config& config);
// Whose names are sent on: of the origins as they are now, and of the public URL as it was at the start.
std::vector<std::string> redirectHosts(const config::Config& at_start, const config::Config& now);
ws::HubOptions hubOptions(const config::Config& config);
lifecycle::ProberOptions proberOptions(const config::Config& config, std::function<lifecycle::RedisState()> redis);
// `identity` is of the database, so that those who share it find each other.
cluster::SistersOptions sistersOptions(const config::Config& config, const std::string& instance,
                                       const std::string& identity);
accounts::AccountsOptions accountsOptions(const config::Config& config);
// Those built in and the operator's. Throws Error(Config) when there is something wrong with these.
std::shared_ptr<const models::Catalogue> modelsOf(const config::Config& config);
providers::ProvidersOptions providersOptions(const config::Config& config);
// The keys as they are now, the rest as it was at the start.
providers::ProvidersOptions withKeysOf(const config::Config& now, const config::Config& at_start);
// A change of caps, into the audit log. A database that is away does not keep a start or a reload from taking effect.
void noteCaps(database::Database& database, const crypto::Keyring& keyring, const debate::Spending& spending,
              const std::string& actor);
// What operators let debates cost. Throws Error(Config) for what is no amount.
store::BudgetCaps budgetCaps(const config::Config& config);
debate::SpendingOptions spendingOptions(const config::Config& config);
api::Options apiOptions(const config::Config& config);
// The keyring must outlive what is told.
backup::ContinuousOptions backupOptions(const config::Config& config, const database::Target& target,
                                        const crypto::Keyring& keyring);
drill::StateOptions recoveryOptions(const config::Config& config, const database::Target& target,
                                    const crypto::Keyring& keyring);
lifecycle::ProblemWatchOptions problemWatchOptions(const config::Loaded& loaded, const database::Target& target,
                                                   const crypto::Keyring& keyring);

}  // namespace aragora::daemon
