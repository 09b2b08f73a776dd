#include "daemon/assembly_options.h"

#include "common/deployment/deployment.h"
#include "common/storage/location.h"
#include "common/systemd/service_manager.h"

namespace aragora::daemon {

namespace key = config::key;

web::GuardSettings guardSettings(const config::Config& config) {
  web::GuardSettings settings;
  settings.cors = web::Cors(config.list(key::kAllowedOrigins), config.anonymousAllowed());
  for (const auto& text : config.list(key::kTrustedProxies)) {
    if (const auto block = net::Block::parse(text)) settings.trusted_proxies.push_back(*block);
  }
  settings.requests_per_minute = config.integer(key::kRateLimit);
  return settings;
}

web::AuthenticatorOptions authenticatorOptions(const config::Config& config) {
  return {config.secret(key::kApiToken), config.secret(key::kMetricsToken), config.anonymousAllowed()};
}

edge::ListenerOptions listenerOptions(const config::Config& config) {
  return {config.text(key::kBindHost), static_cast<std::uint16_t>(config.integer(key::kPort)),
          static_cast<std::size_t>(config.integer(key::kMaxConnections)), systemd::inheritedSockets()};
}

ws::HubOptions hubOptions(const config::Config& config) {
  return {static_cast<std::size_t>(config.integer(key::kSocketsPerAddress)),
          static_cast<std::size_t>(config.integer(key::kSocketsPerAccount)), config.integer(key::kMessageRate)};
}

backup::ContinuousOptions backupOptions(const config::Config& config, const database::Target& target,
                                        const crypto::Keyring& keyring) {
  backup::ContinuousOptions how;
  how.create = backup::createOptions(config, target, keyring);
  how.interval = std::chrono::seconds(config.integer(key::kBackupInterval));
  how.policy = backup::policyOf(config);
  how.offsite = storage::offsite(config);
  return how;
}

lifecycle::ProberOptions proberOptions(const config::Config& config) {
  return {config.isSet(key::kRedisUrl) ? config.secret(key::kRedisUrl) : Secret(), config.sharedStateRequired(),
          config::agentsState(config)};
}

drill::StateOptions recoveryOptions(const config::Config& config, const database::Target& target,
                                    const crypto::Keyring& keyring) {
  return {.directory = config.backupDirectory(),
          .objectives = drill::objectivesOf(config),
          .keyring = &keyring,
          .live = target};
}

accounts::AccountsOptions accountsOptions(const config::Config& config) {
  return {config.secret(key::kJwtSecret), std::chrono::hours(config.integer(key::kAccessHours)),
          std::chrono::hours(24 * config.integer(key::kRefreshDays))};
}

providers::ProvidersOptions providersOptions(const config::Config& config) {
  providers::ProvidersOptions options;
  for (const auto& info : config::networkProviders())
    options.remotes.push_back({info.provider, config.text(info.base_url), config.text(info.model),
                               config.secret(info.api_key), config::whyNotAsked(config, info.provider)});
  options.why_no_demo = config::whyNotAsked(config, config::Provider::Demo);
  options.call_timeout = std::chrono::seconds(config.integer(key::kCallTimeout));
  options.max_output_tokens = config.integer(key::kMaxOutputTokens);
  options.default_agents = config::defaultAgents(config);
  return options;
}

api::Options apiOptions(const config::Config& config) {
  return {config.integer(key::kLoginRate), config.integer(key::kMaxRounds)};
}

}  // namespace aragora::daemon
