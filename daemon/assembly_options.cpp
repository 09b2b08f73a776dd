#include "daemon/assembly_options.h"

#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/deployment/deployment.h"
#include "common/net/header_lines.h"
#include "common/storage/location.h"
#include "common/systemd/service_manager.h"

namespace aragora::daemon {

namespace key = config::key;

namespace {
// FileDescriptorName= of sockets that are not for everything.
constexpr std::string_view kMetricsSocket = "metrics";
constexpr std::size_t kCertificateLimit = 1 << 20;
constexpr std::string_view kRedirectSocket = "redirect";

// What is not set follows from what one address may do; without that there are none.
std::map<web::Bucket, std::int64_t> perMinute(const config::Config& config) {
  const auto whole = config.integer(key::kRateLimit);
  std::map<web::Bucket, std::int64_t> limits{{web::Bucket::Address, whole}};
  if (whole == 0) return limits;
  const auto set = [&](web::Bucket bucket, std::string_view setting, std::int64_t part) {
    const auto given = config.integer(setting);
    limits[bucket] = given > 0 ? given : std::max<std::int64_t>(whole / part, 1);
  };
  set(web::Bucket::Account, key::kAccountRate, 1);
  set(web::Bucket::Debates, key::kDebateRate, 4);
  set(web::Bucket::Reports, key::kReportRate, 12);
  set(web::Bucket::Handshakes, key::kHandshakeRate, 2);
  set(web::Bucket::Refresh, key::kRefreshRate, 4);
  return limits;
}
}  // namespace

web::GuardSettings guardSettings(const config::Config& config) {
  web::GuardSettings settings;
  settings.cors = web::Cors(config.list(key::kAllowedOrigins), config.anonymousAllowed());
  for (const auto& text : config.list(key::kTrustedProxies)) {
    if (const auto block = net::Block::parse(text)) settings.trusted_proxies.push_back(*block);
  }
  settings.per_minute = perMinute(config);
  settings.step_up = config.production();
  settings.access_log = config.flag(key::kLogAccess);
  return settings;
}

web::AuthenticatorOptions authenticatorOptions(const config::Config& config) {
  return {config.secret(key::kApiToken), config.secret(key::kMetricsToken), config.anonymousAllowed()};
}

edge::TlsFiles tlsFiles(const config::Config& config) {
  return {config.text(key::kTlsCertificate), config.text(key::kTlsKey)};
}

std::string certificateFingerprint(const config::Config& config) {
  if (!config.speaksTls()) return {};
  try {
    const auto files = tlsFiles(config);
    return crypto::sha256(readFile(files.certificate, kCertificateLimit)) +
           crypto::sha256(readFile(files.key, kCertificateLimit));
  } catch (const Error&) {
    return {};  // the check of it says why
  }
}

std::unique_ptr<edge::TlsContext> tlsContext(const config::Config& config) {
  return config.speaksTls() ? std::make_unique<edge::TlsContext>(tlsFiles(config)) : nullptr;
}

bool metricsApart(const config::Config& config) {
  const auto& inherited = systemd::inheritedSockets();
  return config.isSet(key::kMetricsListen) ||
         std::any_of(inherited.begin(), inherited.end(),
                     [](const systemd::InheritedSocket& socket) { return socket.name == kMetricsSocket; });
}

edge::ListenerOptions listenerOptions(const config::Config& config, edge::TlsContext* tls, const Sites& sites) {
  edge::ListenerOptions options;
  options.max_connections = static_cast<std::size_t>(config.integer(key::kMaxConnections));
  options.most_of_one_address = static_cast<std::size_t>(config.integer(key::kConnectionsPerAddress));
  options.proxies = guardSettings(config).trusted_proxies;
  options.entrances.clear();
  const auto add = [&](std::string_view setting, edge::TlsContext* spoken, edge::Site* site) {
    for (auto& address : config.addresses(setting)) {
      auto* const here = address.plain || address.local() ? nullptr : spoken;
      options.entrances.push_back({std::move(address), here, site});
    }
  };
  for (const auto& socket : systemd::inheritedSockets()) {
    const bool redirects = socket.name == kRedirectSocket;
    auto* const site = redirects ? sites.redirect : socket.name == kMetricsSocket ? sites.metrics : nullptr;
    options.entrances.push_back({{}, socket.local || redirects ? nullptr : tls, site, socket.descriptor});
  }
  const auto none = [](edge::Site* site, const auto& entrances) {
    return std::none_of(entrances.begin(), entrances.end(),
                        [site](const edge::Entrance& entrance) { return entrance.site == site; });
  };
  const auto inherited = options.entrances;
  if (none(nullptr, inherited)) add(key::kListen, tls, nullptr);
  if (none(sites.metrics, inherited)) add(key::kMetricsListen, tls, sites.metrics);
  if (none(sites.redirect, inherited)) add(key::kRedirectListen, nullptr, sites.redirect);
  return options;
}

std::vector<std::string> redirectHosts(const config::Config& at_start, const config::Config& now) {
  auto urls = now.list(key::kAllowedOrigins);
  if (at_start.isSet(key::kPublicUrl)) urls.push_back(at_start.text(key::kPublicUrl));
  for (auto& url : urls) {
    const auto authority = url.substr(url.find("://") + 3);
    url = web::hostWithoutPort(authority.substr(0, authority.find('/')));
  }
  return urls;
}

web::RedirectOptions redirectOptions(const config::Config& config) {
  web::RedirectOptions options;
  options.hosts = redirectHosts(config, config);
  if (config.speaksTls())
    options.certificate = crypto::inspectCertificate(config.text(key::kTlsCertificate), config.text(key::kTlsKey));
  for (const auto& address : config.addresses(key::kListen)) {
    if (!address.local() && !address.plain && options.port == 0) options.port = address.port;
  }
  if (startsWith(config.text(key::kPublicUrl), "https://")) {
    const auto url = config.text(key::kPublicUrl);
    const auto authority = url.substr(8, url.find('/', 8) - 8);
    const auto colon = authority.rfind(':');
    const auto port = colon == std::string::npos ? std::nullopt : parseInteger(authority.substr(colon + 1));
    options.port = static_cast<std::uint16_t>(port.value_or(443));
  }
  return options;
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

lifecycle::ProberOptions proberOptions(const config::Config& config, std::function<lifecycle::RedisState()> redis) {
  return {std::move(redis), config.sharedStateRequired(), config::agentsState(config)};
}

cluster::SistersOptions sistersOptions(const config::Config& config, const std::string& instance,
                                       const std::string& identity) {
  cluster::SistersOptions options;
  if (config.isSet(key::kRedisUrl)) options.redis = redis::parseUrl(config.secret(key::kRedisUrl));
  // In braces: what belongs together is in one slot of a cluster.
  options.prefix = fmt::format("aragora:{{{}}}", toHex(crypto::sha256(identity)).substr(0, 16));
  options.instance = instance;
  return options;
}

drill::StateOptions recoveryOptions(const config::Config& config, const database::Target& target,
                                    const crypto::Keyring& keyring) {
  return {.directory = config.backupDirectory(),
          .objectives = drill::objectivesOf(config),
          .keyring = &keyring,
          .live = target};
}

lifecycle::ProblemWatchOptions problemWatchOptions(const config::Loaded& loaded, const database::Target& target,
                                                   const crypto::Keyring& keyring) {
  return {.tell = notify::optionsOf(loaded.config),
          .recovery = recoveryOptions(loaded.config, target, keyring),
          .loaded = loaded,
          .makes_backups = loaded.config.flag(key::kBackupContinuous),
          .interval = std::chrono::seconds(loaded.config.integer(key::kNotifyInterval))};
}

accounts::AccountsOptions accountsOptions(const config::Config& config) {
  return {config.secret(key::kJwtSecret), std::chrono::hours(config.integer(key::kAccessHours)),
          std::chrono::hours(24 * config.integer(key::kRefreshDays)), config.secret(key::kJwtPrevious)};
}

namespace {
std::vector<std::pair<std::string, Secret>> headersOf(const config::Config& config, std::string_view setting) {
  auto lines = net::parseHeaderLines(config.secret(setting).reveal());
  if (!lines.problem.empty())
    throw Error(Code::Config, fmt::format("{}: {}", config.variable(setting), lines.problem), "see aragora.toml(5)");
  std::vector<std::pair<std::string, Secret>> headers;
  for (auto& [name, value] : lines.fields) headers.emplace_back(std::move(name), Secret(std::move(value)));
  return headers;
}

// What one vendor has and the others have not.
void addVendorsOwn(const config::Config& config, providers::ProvidersOptions::Remote& remote) {
  if (remote.provider == config::Provider::Anthropic) {
    remote.bearer = config.secret(key::kAnthropicToken);
    remote.version = config.text(key::kAnthropicVersion);
    remote.headers = headersOf(config, key::kAnthropicHeaders);
  } else if (remote.provider == config::Provider::OpenAi) {
    remote.headers = headersOf(config, key::kOpenAiHeaders);
    remote.organization = config.text(key::kOpenAiOrganization);
    remote.project = config.text(key::kOpenAiProject);
  } else if (remote.provider == config::Provider::OpenRouter) {
    remote.referer = config.text(key::kOpenRouterReferer);
    remote.title = config.text(key::kOpenRouterTitle);
    remote.deny_data_collection = config.text(key::kOpenRouterDataCollection) == "deny";
  }
}
}  // namespace

std::shared_ptr<const models::Catalogue> modelsOf(const config::Config& config) {
  std::vector<config::Problem> problems;
  auto models = std::make_shared<const models::Catalogue>(models::Catalogue::load(config, problems));
  config::requireNoProblems(problems);
  return models;
}

providers::ProvidersOptions providersOptions(const config::Config& config) {
  providers::ProvidersOptions options;
  for (const auto& info : config::networkProviders())
    options.remotes.push_back({info.provider, config.text(info.base_url), config.text(info.model),
                               config.secret(info.api_key), config::whyNotAsked(config, info.provider),
                               config.isSet(key::kFallback) || !config.isSet(info.base_url)});
  for (auto& remote : options.remotes) addVendorsOwn(config, remote);
  options.models = modelsOf(config);
  options.why_no_demo = config::whyNotAsked(config, config::Provider::Demo);
  const auto seconds = [&](std::string_view name) { return std::chrono::seconds(config.integer(name)); };
  options.times = {seconds(key::kCallTimeout), seconds(key::kConnectTimeout), seconds(key::kFirstByteTimeout),
                   seconds(key::kIdleTimeout)};
  options.retries = static_cast<int>(config.integer(key::kCallRetries));
  const auto rules = [&](std::string_view failures, std::string_view window) {
    return providers::BreakerRules{.failures = static_cast<std::size_t>(config.integer(failures)),
                                   .window = seconds(window),
                                   .longest_cooldown = std::max(seconds(window), seconds(key::kBreakerLongest)),
                                   .least_failure_percent = static_cast<int>(config.integer(key::kBreakerPercent)),
                                   .jitter = providers::anyJitter};
  };
  options.breaker = rules(key::kBreakerFailures, key::kBreakerWindow);
  options.openrouter_breaker = rules(key::kOpenRouterBreakerFailures, key::kOpenRouterBreakerWindow);
  options.fallback = !config.isSet(key::kFallback) || config.flag(key::kFallback);
  for (const auto& entry : config.list(key::kFallbackModels)) {
    const auto equals = entry.find('=');  // the check of providers has seen that there is one
    if (equals != std::string::npos) options.fallback_models[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  options.max_output_tokens = config.integer(key::kMaxOutputTokens);
  options.calls_at_once = static_cast<std::size_t>(config.integer(key::kCallsAtOnce));
  options.default_agents = config::defaultAgents(config);
  return options;
}

providers::ProvidersOptions withKeysOf(const config::Config& now, const config::Config& at_start) {
  auto options = providersOptions(at_start);
  const auto fresh = providersOptions(now);
  for (std::size_t i = 0; i < options.remotes.size(); ++i) {
    options.remotes[i].api_key = fresh.remotes[i].api_key;
    options.remotes[i].bearer = fresh.remotes[i].bearer;
    options.remotes[i].why_not = fresh.remotes[i].why_not;
  }
  return options;
}

store::BudgetCaps budgetCaps(const config::Config& config) {
  const auto cap = [&](std::string_view setting) -> std::optional<Picos> {
    if (!config.isSet(setting) || config.text(setting).empty()) return std::nullopt;
    if (const auto amount = parseUsd(config.text(setting))) return amount;
    throw Error(Code::Config, fmt::format("{}: '{}' is no amount", setting, printable(config.text(setting), 40)),
                "write dollars as 12.50");
  };
  return {cap(key::kDebateBudget), cap(key::kAccountBudget), cap(key::kDailyBudget)};
}

void noteCaps(database::Database& database, const crypto::Keyring& keyring, const debate::Spending& spending,
              const std::string& actor) {
  try {
    debate::recordCaps(database, keyring, spending.caps(), actor);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    log::warning("a change of the budgets is not in the audit log: {}", error.what());
  }
}

debate::SpendingOptions spendingOptions(const config::Config& config) {
  return {modelsOf(config), budgetCaps(config), config.integer(key::kMaxOutputTokens)};
}

api::Options apiOptions(const config::Config& config) {
  return {.logins_per_minute = config.integer(key::kLoginRate),
          .max_rounds = config.integer(key::kMaxRounds),
          .registration = config.isSet(key::kRegistration) ? config.flag(key::kRegistration) : !config.production(),
          .quota = {config.integer(key::kDebatesPerDay), config.integer(key::kDebatesAtOnce)},
          .models_allowed = config.list(key::kModelsAllowed)};
}

}  // namespace aragora::daemon
