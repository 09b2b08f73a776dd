#include "daemon/assembly.h"

#include "common/base/file.h"
#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/crypto/password.h"
#include "common/database/sqlite/usage_lock.h"
#include "common/deployment/deployment.h"
#include "common/storage/location.h"
#include "common/store/key_use.h"
#include "common/store/settings.h"
#include "common/systemd/service_manager.h"
#include "daemon/api/api.h"
#include "daemon/assembly_options.h"
#include "daemon/cluster/follower.h"
#include "daemon/cluster/shared_limits.h"
#include "daemon/debate/event_bus.h"
#include "daemon/edge/listener.h"
#include "daemon/lifecycle/audit_watch.h"
#include "daemon/lifecycle/backups.h"
#include "daemon/lifecycle/memory_watch.h"
#include "daemon/lifecycle/problem_watch.h"
#include "daemon/self_report.h"
#include "daemon/web/guard.h"
#include "daemon/ws/echo.h"
#include "daemon/ws/hub.h"
#include "daemon/zero_counts.h"

namespace aragora::daemon {

namespace key = config::key;

namespace {
constexpr std::size_t kIoThreads = 2;
constexpr auto kProgressPatience = std::chrono::seconds(5);
constexpr auto kGoodbye = std::chrono::milliseconds(500);
constexpr auto kCut = std::chrono::milliseconds(500);
constexpr auto kLastAnswers = std::chrono::milliseconds(250);
// The scheduler asks the database, whose deadlines are up to twelve seconds a question.
constexpr auto kSchedulerPatience = std::chrono::seconds(30);

std::optional<database::sqlite::UsageLock> lockEmbedded(const database::Target& target) {
  if (target.engine != database::Engine::Sqlite) return std::nullopt;
  makeDirectories(target.path.parent_path(), 0750);
  auto lock = database::sqlite::UsageLock::tryAcquire(target.path);
  if (!lock)
    throw Error(Code::Busy,
                fmt::format("another daemon uses {} ({})", target.path.string(),
                            database::sqlite::UsageLock::holder(target.path)),
                "stop it first, or set ARAGORA_STATE_DIR");
  return lock;
}
}  // namespace

struct Assembly::Parts {
  explicit Parts(config::Loaded given)
      : loaded(std::move(given)),
        config(loaded.config),
        keyring(deployment::requireKeyring(config)),
        target(deployment::databaseTarget(config)),
        usage_lock(lockEmbedded(target)),
        database(openPrepared()),
        accounts(*database, keyring, accountsOptions(config)),
        api_keys(*database, keyring),
        tickets(*database, keyring, accounts, api_keys),
        self_service(*database, keyring),
        debates(*database, keyring),
        instance(instanceName()),
        leases(*database, instance),
        pages(*database),
        ratings(*database),
        providers(providersOptions(config)),
        recovery_metrics(recoveryOptions(config, target, keyring)),
        sisters(
            sistersOptions(config, instance, identity), [this](const cluster::Hint& hint) { heard(hint); },
            [this](bool listening) { follower.setListening(listening); }),
        follower(followerServices()),
        shared_limits(sisters, static_cast<std::size_t>(config.integer(key::kInstanceCount))),
        limits(&shared_limits),
        prober(proberOptions(config, [this] { return redisState(); }), *database,
               [this](const lifecycle::Probe&) { afterProbe(); }),
        workers(static_cast<std::size_t>(config.integer(key::kWorkers)),
                static_cast<std::size_t>(config.integer(key::kQueueLimit)),
                std::chrono::milliseconds(config.integer(key::kQueueMs))),
        engine(runServices(), {.max_concurrent = static_cast<std::size_t>(config.integer(key::kMaxConcurrent))}),
        debating({*database, debates, keyring, engine,
                  [this](debate::Change change, const std::string& id) { changed(change, id); },
                  [this](const store::Event& event) { bus.publish(event); }}),
        io(kIoThreads),
        authenticator(authenticatorOptions(config), {accounts, api_keys, tickets}),
        hub(hubOptions(config),
            {debates, workers, metrics, authenticator, [this] { return engine.active(); },
             [this](const std::string& address, const std::string& request_id) {
               refusals.note(address, request_id, "/ws");
             }},
            io),
        refusals(*database, keyring),
        router(config.text(key::kBasePath)),
        services{apiOptions(config),
                 accounts,
                 api_keys,
                 tickets,
                 self_service,
                 *database,
                 debates,
                 pages,
                 ratings,
                 providers,
                 debating,
                 metrics,
                 prober,
                 keyring,
                 lists,
                 reports,
                 limits,
                 [this] { return *shown_settings.get(); },
                 [this] { return report.livingInstances(); }},
        guard(guardSettings(config), authenticator, addRoutes(), limits, refusals, metrics, &memory.scarce()),
        metrics_guard(guardSettings(config), authenticator, metrics_router, limits, refusals, metrics),
        redirect(redirectOptions(config)),
        tls(tlsContext(config)),
        listener(listenerOptions(config, tls.get(), {&metrics_guard, &redirect}), io, guard, workers),
        audit_watch({config.stateDirectory(), config.backupDirectory(), storage::offsite(config)}, *database, keyring),
        backups(backupOptions(config, target, keyring), config.flag(key::kBackupContinuous), metrics),
        problem_watch(problemWatchOptions(loaded, target, keyring), audit_watch),
        report({instance,
                *database,
                listener,
                workers,
                hub,
                engine,
                sisters,
                prober,
                audit_watch,
                recovery_metrics,
                refusals,
                memory.scarce(),
                certificate_ends,
                {"/proc", {{"state", config.stateDirectory()}, {"backups", config.backupDirectory()}}}}) {
    if (tls != nullptr) noteCertificate(config);
    bus.subscribe([this](const store::Event&) { lists.drop(); });
    bus.subscribe([this](const store::Event& event) { hub.publish(event); });
    bus.subscribe([this](const store::Event& event) {
      follower.wrote(event.debate_id, event.seq);
      sisters.tell({.kind = cluster::HintKind::Event, .debate_id = event.debate_id, .seq = event.seq});
    });
    report.feed(metrics);
    for (const auto* one : {&router, &metrics_router}) beginAtZero(metrics, *one);
    beginAtZero(metrics, providers);
    beginAtZero(metrics);
  }
  // What runs in threads of theirs uses everything else.
  ~Parts() {
    sisters.stop();
    follower.stop();
  }

  std::unique_ptr<database::Database> openPrepared() {
    prepareDatabase(config, target);
    if (usage_lock && !usage_lock->coverFile())
      throw Error(Code::Busy, fmt::format("another daemon uses {} by another name", target.path.string()),
                  "stop it first, or set ARAGORA_STATE_DIR");
    auto opened = database::openDatabase(target);
    opened->write([this](database::Connection& connection) {
      store::requireSameKey(connection, keyring);
      keyring = store::withKeptKeys(connection, keyring);
      identity = store::settingOrInsert(connection, store::kInstanceId, newUlid()) +
                 store::readSetting(connection, store::kDatabaseEpoch).value_or("");
    });
    return opened;
  }

  cluster::FollowerServices followerServices() {
    return {debates, [this] { return hub.watched(); }, [this](const store::Event& event) { hub.publish(event); },
            [this] { engine.lookForCancellations(); }};
  }

  // Of another instance.
  void heard(const cluster::Hint& hint) {
    lists.drop();
    if (hint.kind == cluster::HintKind::Cancel) follower.cancellationAsked();
    if (hint.kind == cluster::HintKind::Event && hub.watches(hint.debate_id)) follower.told(hint.debate_id, hint.seq);
  }

  void changed(debate::Change change, const std::string& debate_id) {
    if (change == debate::Change::Removed) pages.forget();
    lists.drop();
    sisters.tellAndWait(
        {change == debate::Change::CancelRequested ? cluster::HintKind::Cancel : cluster::HintKind::Lists, debate_id});
  }

  lifecycle::RedisState redisState() const {
    if (!sisters.configured()) return lifecycle::RedisState::NotConfigured;
    return sisters.state() == redis::LinkState::Away ? lifecycle::RedisState::Unreachable
                                                     : lifecycle::RedisState::Connected;
  }

  debate::RunServices runServices() {
    return {*database,
            keyring,
            debates,
            leases,
            ratings,
            providers,
            metrics,
            [this](const store::Event& event) { bus.publish(event); },
            std::chrono::seconds(config.integer(key::kCallTimeout)),
            std::chrono::seconds(config.integer(key::kDebateDeadline))};
  }

  const web::Router& addRoutes() {
    api::addHealthRoutes(router, services);
    api::addDebateRoutes(router, services);
    api::addDebateViewRoutes(router, services);
    api::addDebateChangeRoutes(router, services);
    api::addAgentRoutes(router, services);
    api::addAccountRoutes(router, services);
    api::addApiKeyRoutes(router, services);
    api::addSelfServiceRoutes(router, services);
    api::addSecondFactorRoutes(router, services);
    api::addAdminRoutes(router, services);
    api::addMetricsRoute(metricsApart(config) ? metrics_router : router, services);
    hub.addRoute(router);
#ifdef ARAGORA_TEST_ENDPOINTS
    ws::addEchoRoute(router);
#endif
    api::addOpenApiRoutes(router);
    return router;
  }

  // In the prober's thread. The watchdog hears from us only when everybody else made progress, too.
  void afterProbe() {
    if (!started) return;
    sisters.beat(report.aboutMe());
    systemd::notifyStatus(report.statusLine());
    if (systemd::watchdogEnabled() && io.responsive(kProgressPatience) && workersProgress() &&
        engine.silence() < kSchedulerPatience)
      systemd::notifyWatchdog();
  }

  // All of them at something for too long.
  bool workersProgress() {
    const auto now = std::chrono::steady_clock::now();
    const auto taken = workers.taken();
    if (taken != workers_taken || workers.someThreadIsFree()) {
      workers_taken = taken;
      workers_moved = now;
    }
    return now - workers_moved < kProgressPatience;
  }

  crypto::CertificateReport noteCertificate(const config::Config& from) {
    auto report_of = crypto::inspectCertificate(tlsFiles(from).certificate, tlsFiles(from).key);
    certificate_ends = report_of.not_after;
    return report_of;
  }

  // The same as what is in use, whatever has become of its validity.
  bool sameCertificate(const config::Config& fresh) const {
    return tls != nullptr && fresh.speaksTls() && !certificate_seen.empty() &&
           certificateFingerprint(fresh) == certificate_seen;
  }

  // Throws, having changed nothing, for one that cannot be used.
  void reloadCertificate(const config::Config& fresh) {
    if (sameCertificate(fresh)) return;
    if (tls == nullptr || !fresh.speaksTls()) {
      if (config.speaksTls() != fresh.speaksTls())
        log::warning("TLS is {} after a restart only", fresh.speaksTls() ? "spoken" : "given up");
      return;
    }
    auto options = redirect.options();
    const auto seen =
        certificateFingerprint(fresh);  // before: what changes in between is another one to the next reload
    tls->reload(tlsFiles(fresh));
    certificate_seen = seen;
    options.certificate = noteCertificate(fresh);
    redirect.reload(std::move(options));
  }

  void reloadTokens(const config::Config& fresh) {
    auto options = authenticatorOptions(fresh);
    options.anonymous = authenticatorOptions(config).anonymous;  // follows from addresses, which stay
    authenticator.reload(std::move(options));
    accounts.reload(fresh.secret(key::kJwtSecret), fresh.secret(key::kJwtPrevious));
  }

  void reloadProviders(const config::Config& fresh) {
    const auto changed = [&](std::string_view name) { return differs(name, current, fresh); };
    if (changed(key::kAnthropicKey) || changed(key::kOpenAiKey) || changed(key::kOpenRouterKey))
      providers.reload(withKeysOf(fresh, config));
    providers.setDefaultAgents(config::defaultAgents(fresh));
  }

  void reloadOrigins(const config::Config& fresh) {
    guard.reload(guardSettings(fresh));
    metrics_guard.reload(guardSettings(fresh));
    listener.trust(guardSettings(fresh).trusted_proxies);
    auto options = redirect.options();
    options.hosts = redirectHosts(config, fresh);
    redirect.reload(std::move(options));
  }

  // A database that is away does not keep a reload from taking effect.
  void recordReload(const std::string& actor) {
    try {
      database->write([&](database::Connection& connection) {
        audit::append(connection, keyring, {actor, "configuration.reload", "configuration", "success", {}, {}, {}});
      });
    } catch (const Error& error) {
      log::warning("the reload is not in the audit log: {}", error.what());
    }
  }

  config::Loaded loaded;
  const config::Config& config;     // as it was at the start
  config::Config current = config;  // of the last reload
  crypto::Keyring keyring;
  database::Target target;
  std::optional<database::sqlite::UsageLock> usage_lock;
  std::string identity;  // of the database
  std::unique_ptr<database::Database> database;
  accounts::Accounts accounts;
  accounts::ApiKeys api_keys;
  accounts::Tickets tickets;
  accounts::SelfService self_service;
  store::Debates debates;
  std::string instance;
  store::Leases leases;
  store::DebatePages pages;
  store::Ratings ratings;
  providers::Providers providers;
  metrics::Registry metrics;
  lifecycle::RecoveryMetrics recovery_metrics;
  api::ListCache lists;
  api::Reports reports;
  debate::LocalBus bus;
  std::atomic<bool> started{false};
  std::uint64_t workers_taken = 0;
  std::chrono::steady_clock::time_point workers_moved{};
  cluster::Sisters sisters;
  cluster::Follower follower;
  cluster::SharedLimits shared_limits;
  web::Limits limits;
  lifecycle::Prober prober;
  lifecycle::MemoryWatch memory;
  edge::WorkerPool workers;
  debate::Engine engine;
  debate::Service debating;
  edge::IoThreads io;
  web::Authenticator authenticator;
  ws::Hub hub;
  web::RefusalLog refusals;
  web::Router router;
  web::Router metrics_router;  // of server.metrics_listen
  Reloadable<json::object> shown_settings{settingsInEffect(config, config)};
  api::Services services;
  web::Guard guard;
  web::Guard metrics_guard;
  web::Redirect redirect;
  std::string certificate_seen = certificateFingerprint(config);  // what `tls` was made of
  std::unique_ptr<edge::TlsContext> tls;
  std::atomic<Micros> certificate_ends{0};
  edge::Listener listener;
  lifecycle::AuditWatch audit_watch;
  lifecycle::Backups backups;
  lifecycle::ProblemWatch problem_watch;
  SelfReport report;
};

// Who takes a setting that reload() applies.
struct Assembly::Taker {
  std::vector<std::string_view> settings;
  std::function<void(Parts&, const config::Config&)> take;
};

const std::vector<Assembly::Taker>& Assembly::takers() {
  static const std::vector<Taker> all = {
      // The only one that can still fail, and so the first.
      {{key::kTlsCertificate, key::kTlsKey},
       [](Parts& parts, const config::Config& config) { parts.reloadCertificate(config); }},
      {{key::kLogLevel, key::kLogFormat}, [](Parts&, const config::Config& config) { configureLog(config); }},
      {{key::kAllowedOrigins, key::kTrustedProxies, key::kRateLimit, key::kAccountRate, key::kDebateRate,
        key::kReportRate, key::kHandshakeRate, key::kRefreshRate, key::kLogAccess},
       [](Parts& parts, const config::Config& config) { parts.reloadOrigins(config); }},
      {{key::kJwtSecret, key::kJwtPrevious, key::kApiToken, key::kMetricsToken},
       [](Parts& parts, const config::Config& config) { parts.reloadTokens(config); }},
      {{key::kDefaultAgents, key::kAnthropicKey, key::kOpenAiKey, key::kOpenRouterKey},
       [](Parts& parts, const config::Config& config) { parts.reloadProviders(config); }},
  };
  return all;
}

std::vector<std::string_view> Assembly::reloadableSettings() {
  std::vector<std::string_view> all;
  for (const auto& taker : takers()) all.insert(all.end(), taker.settings.begin(), taker.settings.end());
  return all;
}

Assembly::Assembly(config::Loaded loaded) : parts_(std::make_unique<Parts>(std::move(loaded))) {}

Assembly::~Assembly() { stop(); }

std::uint16_t Assembly::port() const { return parts_->listener.port(); }

void Assembly::start() {
  auto& parts = *parts_;
  parts.sisters.start();
  parts.prober.start();
  parts.memory.start();
  parts.engine.start();
  // An embedded database has one daemon only.
  if (parts.sisters.configured() || parts.target.engine == database::Engine::Postgres) parts.follower.start();
  parts.refusals.start();
  parts.audit_watch.start();
  parts.started = true;
  parts.hub.start();
  parts.io.start();
  parts.listener.start();
  parts.backups.start();
  parts.problem_watch.start();
  log::tell(log::Event::Started, log::Level::Info, "aragora {} listens on {} ({}, {})", kVersion,
            parts.report.listensOn(), parts.config.text(key::kEnvironment), database::describe(parts.target));
  if (const auto most = parts.listener.mostConnections();
      most < static_cast<std::size_t>(parts.config.integer(key::kMaxConnections)))
    log::warning("at most {} are taken: no more files may be open (LimitNOFILE)", counted(most, "connection"));
  systemd::notifyReady(parts.report.statusLine());
}

Assembly::Reloaded Assembly::reload(const std::function<config::Loaded()>& load, const std::string& actor) {
  systemd::notifyReloading();
  Reloaded result;
  try {
    auto fresh = load();
    config::requireNoProblems(fresh.problems);
    deployment::loadGeneratedSecrets(fresh.config);
    result.warnings = requireStartable(fresh, Occasion::Reload, parts_->sameCertificate(fresh.config));
    for (const auto& taker : takers()) taker.take(*parts_, fresh.config);
    parts_->backups.keepConfiguration(backup::createOptions(fresh.config, parts_->target, parts_->keyring));
    parts_->recordReload(actor);
    parts_->shown_settings.set(settingsInEffect(parts_->config, fresh.config));
    result.applied = appliedAtOnce(std::exchange(parts_->current, fresh.config), fresh.config);
    result.after_restart = needingARestart(parts_->config, fresh.config);
    log::tell(log::Event::Reloaded, log::Level::Info, "configuration reloaded{}{}", result.applied.empty() ? "" : ": ",
              join(result.applied, ", "));
    if (!result.after_restart.empty())
      log::warning("these take effect after a restart only: {}", join(result.after_restart, ", "));
  } catch (const Error& error) {
    log::tell(log::Event::ReloadRefused, log::Level::Error, "the configuration was not reloaded: {}", error.what());
    result.refused = error;
  }
  systemd::notifyReady(parts_->report.statusLine());
  return result;
}

void Assembly::stop() {
  auto& parts = *parts_;
  if (!parts.started.exchange(false)) return;
  const auto drain = std::chrono::seconds(parts.config.integer(key::kDrainSeconds));
  const auto drained = deadlineIn(drain);
  systemd::notifyStopping();
  systemd::extendStop((drain.count() + 10) * 1'000'000);
  parts.prober.setDraining();
  parts.listener.stopAccepting();
  (void)parts.io.responsive(kCut);  // they have counted who is to be waited for
  parts.engine.stop();              // others go on with the debates at once, whatever the requests still take
  if (!parts.listener.waitUntilIdle(drained))
    log::warning("requests were still running after {} s and were cut", drain.count());
  parts.hub.closeAll();
  parts.backups.askToStop();
  parts.workers.stop(kLastAnswers);
  parts.sisters.stop();
  parts.follower.stop();
  for (const auto goodbye = deadlineIn(kGoodbye); parts.hub.clients() > 0 && remaining(goodbye).count() > 0;)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  parts.listener.closeAll();
  parts.hub.dropAll();
  if (!parts.io.stop(deadlineIn(kCut))) log::warning("connections did not end in time and were dropped");
  parts.refusals.stop();
  parts.problem_watch.stop();
  parts.audit_watch.stop();
  parts.backups.stop();
  parts.memory.stop();
  parts.prober.stop();
  log::tell(log::Event::Stopped, log::Level::Info, "stopped");
}

}  // namespace aragora::daemon
