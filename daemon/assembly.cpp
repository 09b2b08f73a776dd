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
#include "common/store/receipts.h"
#include "common/store/settings.h"
#include "common/systemd/service_manager.h"
#include "daemon/api/api.h"
#include "daemon/assembly_options.h"
#include "daemon/chat/routes.h"
#include "daemon/circuits_told.h"
#include "daemon/cluster/follower.h"
#include "daemon/cluster/shared_limits.h"
#include "daemon/cluster/shared_probes.h"
#include "daemon/cluster/shared_speech.h"
#include "daemon/debate/event_bus.h"
#include "daemon/edge/listener.h"
#include "daemon/held_circuits.h"
#include "daemon/lifecycle/audit_watch.h"
#include "daemon/lifecycle/backups.h"
#include "daemon/lifecycle/budget_watch.h"
#include "daemon/lifecycle/housekeeping.h"
#include "daemon/lifecycle/memory_watch.h"
#include "daemon/lifecycle/problem_watch.h"
#include "daemon/lifecycle/warm_up.h"
#include "daemon/progress_watch.h"
#include "daemon/reloading.h"
#include "daemon/self_report.h"
#include "daemon/web/guard.h"
#include "daemon/ws/echo.h"
#include "daemon/ws/hub.h"
#include "daemon/zero_counts.h"

namespace aragora::daemon {

namespace key = config::key;

namespace {
constexpr std::size_t kIoThreads = 2;
constexpr auto kGoodbye = std::chrono::milliseconds(500);
constexpr auto kCut = std::chrono::milliseconds(500);
constexpr auto kLastAnswers = std::chrono::milliseconds(250);

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
        standings(*database),
        receipts(*database, keyring),
        providers(toldOf(providersOptions(config))),
        recovery_metrics(recoveryOptions(config, target, keyring)),
        sisters(
            sistersOptions(config, instance, identity), [this](const cluster::Heard& said) { heard(said); },
            [this](bool listening) { hintsCome(listening); }, [this](const std::string& line) { speech.heard(line); }),
        follower(followerServices()),
        speech(sisters, speechServices()),
        probe_leases(sisters),
        shared_limits(sisters, static_cast<std::size_t>(config.integer(key::kInstanceCount))),
        limits(&shared_limits),
        prober(proberOptions(config, [this] { return redisState(); }), *database,
               [this](const lifecycle::Probe&) { afterProbe(); }),
        workers(static_cast<std::size_t>(config.integer(key::kWorkers)),
                static_cast<std::size_t>(config.integer(key::kQueueLimit)),
                std::chrono::milliseconds(config.integer(key::kQueueMs))),
        spending(spendingOptions(config), metrics),
        engine(runServices(), {.max_concurrent = static_cast<std::size_t>(config.integer(key::kMaxConcurrent))}),
        debating({*database, debates, keyring, engine,
                  [this](debate::Change change, const std::string& id) { changed(change, id); },
                  [this](const store::Event& event) { bus.publish(event); }, [this] { return configHash(); }}),
        io(kIoThreads),
        authenticator(authenticatorOptions(config), {accounts, api_keys, tickets}),
        hub(hubOptions(config),
            {debates, workers, metrics, authenticator, [this] { return engine.active(); },
             [this](const std::string& address, const std::string& request_id) {
               refusals.note(address, request_id, "/ws");
             },
             [this](const std::string& debate_id) { speech.listen(debate_id); }},
            io),
        desk({debates, debating, workers, config.flag(key::kChatCancels),
              [this](const std::string& debate_id) { speech.listen(debate_id); }}),
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
                 standings,
                 receipts,
                 providers,
                 debating,
                 spending,
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
        budget_watch(*database, [this] { return spending.caps(); }),
        problem_watch(watchOptions(), audit_watch),
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
                {"/proc", {{"state", config.stateDirectory()}, {"backups", config.backupDirectory()}}},
                providers}),
        reloading(loaded, std::move(certificate_seen),
                  {*database, keyring, target, tls.get(), certificate_ends, redirect, authenticator, accounts,
                   providers, guard, metrics_guard, listener, backups, problem_watch, shown_settings, spending}) {
    held_circuits.look();
    reloading.noteCertificate(config);
    noteCaps(*database, keyring, spending, "daemon:" + instance);
    if (usage_lock) leases.releaseEverybodys();
    bus.subscribe([this](const store::Event&) { lists.drop(); });
    bus.subscribe([this](const store::Event& event) { show(event); });
    bus.subscribe([this](const store::Event& event) {
      follower.wrote(event.debate_id, event.seq);
      sisters.tell({.kind = cluster::HintKind::Event, .debate_id = event.debate_id, .seq = event.seq});
    });
    report.feed(metrics);
    metrics.onCollect([this](metrics::Registry& registry) { budget_watch.collect(registry); });
    for (const auto* one : {&router, &metrics_router}) beginAtZero(metrics, *one);
    beginAtZero(metrics, providers);
    beginAtZero(metrics);
  }
  // What runs in threads of theirs uses everything else.
  ~Parts() {
    speech.stop();
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
      store::Receipts::found(connection, keyring);
    });
    return opened;
  }

  cluster::FollowerServices followerServices() {
    return {debates, [this] { return watched(); }, [this](const store::Event& event) { show(event); },
            [this] { engine.lookForCancellations(); }};
  }

  cluster::SharedSpeechServices speechServices() {
    return {keyring,
            instance,
            [this] { return listened(); },
            [this](const std::string& debate_id) { return engine.runs(debate_id); },
            [this](const wire::Delta& delta) { tell(delta); },
            metrics.counter("aragora_redis_deltas_lost_total")};
  }

  // What becomes of a provider's circuit is told to the other instances, and one of them probes it.
  providers::ProvidersOptions toldOf(providers::ProvidersOptions options) {
    options.on_breaker = [this](const providers::BreakerNews& news) { sisters.tell(hintOf(news)); };
    options.probe_leases = &probe_leases;
    return options;
  }

  lifecycle::ProblemWatchOptions watchOptions() {
    auto options = problemWatchOptions(loaded, target, keyring);
    options.outages = [this] { return outagesOf(providers); };
    options.budgets = [this] { return budget_watch.problems(); };
    return options;
  }

  // To whoever follows a debate here.
  void show(const store::Event& event) {
    hub.publish(event);
    desk.heard(event);
  }
  void tell(const wire::Delta& delta) {
    hub.speak(delta);
    desk.spoken(delta);
  }
  // Of a debate that runs here.
  void speak(const wire::Delta& delta) {
    tell(delta);
    speech.speak(delta);
  }
  std::vector<std::string> listened() const {
    auto ids = hub.listened();
    const auto streamed = desk.listened();
    ids.insert(ids.end(), streamed.begin(), streamed.end());
    return ids;
  }
  std::vector<std::string> watched() const {
    auto ids = hub.watched();
    const auto awaited = desk.awaited();
    ids.insert(ids.end(), awaited.begin(), awaited.end());
    return ids;
  }

  // Of another instance.
  void heard(const cluster::Heard& said) {
    const auto& hint = said.hint;
    if (hint.kind == cluster::HintKind::Breaker) return hear(hint, providers);
    if (hint.kind == cluster::HintKind::Listen) return speech.asked(hint.debate_id, said.instance);
    lists.drop();
    if (hint.kind == cluster::HintKind::Cancel) follower.cancellationAsked();
    if (hint.kind == cluster::HintKind::Event && (hub.watches(hint.debate_id) || desk.awaits(hint.debate_id)))
      follower.told(hint.debate_id, hint.seq);
  }

  void hintsCome(bool listening) {
    follower.setListening(listening);
    if (listening) speech.askAgain();
  }

  void changed(debate::Change change, const std::string& debate_id) {
    if (change == debate::Change::Removed) pages.forget();
    lists.drop();
    const bool of_a_run = change == debate::Change::CancelRequested || change == debate::Change::PauseRequested;
    sisters.tellAndWait({of_a_run ? cluster::HintKind::Cancel : cluster::HintKind::Lists, debate_id});
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
            providers,
            metrics,
            [this](const store::Event& event) { bus.publish(event); },
            std::chrono::seconds(config.integer(key::kCallTimeout)),
            std::chrono::seconds(config.integer(key::kDebateDeadline)),
            &spending,
            [this](const wire::Delta& delta) { speak(delta); },
            [this] { return configHash(); }};
  }

  std::string configHash() const { return jsonTextOr(*shown_settings.get(), "config_hash", ""); }

  const web::Router& addRoutes() {
    api::addHealthRoutes(router, services);
    api::addDebateRoutes(router, services);
    api::addBudgetRoutes(router, services);
    api::addDebateViewRoutes(router, services);
    api::addDebateChangeRoutes(router, services);
    api::addReceiptRoutes(router, services);
    api::addAgentRoutes(router, services);
    api::addLeaderboardRoutes(router, services);
    api::addAccountRoutes(router, services);
    api::addApiKeyRoutes(router, services);
    api::addSelfServiceRoutes(router, services);
    api::addSecondFactorRoutes(router, services);
    api::addAdminRoutes(router, services);
    api::addBreakerRoutes(router, services);
    api::addMetricsRoute(metricsApart(config) ? metrics_router : router, services);
    chat::addRoutes(router, {services, desk,
                             chat::parseProfiles(config.list(key::kChatProfiles), config.integer(key::kMaxRounds))});
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
    progress.look();
  }

  config::Loaded loaded;
  const config::Config& config;  // as it was at the start
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
  store::Standings standings;
  store::Receipts receipts;
  providers::Providers providers;
  metrics::Registry metrics;
  lifecycle::RecoveryMetrics recovery_metrics;
  api::ListCache lists;
  api::Reports reports;
  debate::LocalBus bus;
  std::atomic<bool> started{false};
  cluster::Sisters sisters;
  cluster::Follower follower;
  cluster::SharedSpeech speech;
  cluster::SharedProbes probe_leases;
  cluster::SharedLimits shared_limits;
  web::Limits limits;
  lifecycle::Prober prober;
  lifecycle::MemoryWatch memory;
  edge::WorkerPool workers;
  Reloadable<json::object> shown_settings{settingsInEffect(config, config)};  // not of what waits for a restart
  debate::Spending spending;
  debate::Engine engine;
  debate::Service debating;
  edge::IoThreads io;
  ProgressWatch progress{io, workers, engine};
  web::Authenticator authenticator;
  ws::Hub hub;
  chat::Desk desk;
  web::RefusalLog refusals;
  web::Router router;
  web::Router metrics_router;  // of server.metrics_listen
  api::Services services;
  web::Guard guard;
  web::Guard metrics_guard;
  web::Redirect redirect;
  std::string certificate_seen = certificateFingerprint(config);  // what `tls` is made of
  std::unique_ptr<edge::TlsContext> tls;
  std::atomic<Micros> certificate_ends{0};
  edge::Listener listener;
  lifecycle::AuditWatch audit_watch;
  lifecycle::Backups backups;
  lifecycle::BudgetWatch budget_watch;
  lifecycle::ProblemWatch problem_watch;
  lifecycle::WarmUp warm_up{standings};
  lifecycle::Housekeeping housekeeping{*database, keyring, debates};
  HeldCircuits held_circuits{*database, providers};
  SelfReport report;
  Reloading reloading;
};

Assembly::Assembly(config::Loaded loaded) : parts_(std::make_unique<Parts>(std::move(loaded))) {}

Assembly::~Assembly() { stop(); }

json::array Assembly::breakers() const { return api::breakersOf(parts_->providers); }

std::uint16_t Assembly::port() const { return parts_->listener.port(); }

void Assembly::start() {
  auto& parts = *parts_;
  parts.sisters.start();
  parts.prober.start();
  parts.memory.start();
  parts.engine.start();
  // An embedded database has one daemon only.
  if (parts.sisters.configured() || parts.target.engine == database::Engine::Postgres) parts.follower.start();
  parts.speech.start();
  parts.refusals.start();
  parts.audit_watch.start();
  parts.started = true;
  parts.hub.start();
  parts.io.start();
  parts.listener.start();
  parts.backups.start();
  parts.problem_watch.start();
  parts.warm_up.start();
  parts.housekeeping.start();
  parts.held_circuits.start();
  log::tell(log::Event::Started, log::Level::Info, "aragora {} listens on {} ({}, {})", kVersion,
            parts.report.listensOn(), parts.config.text(key::kEnvironment), database::describe(parts.target));
  if (const auto most = parts.listener.mostConnections();
      most < static_cast<std::size_t>(parts.config.integer(key::kMaxConnections)))
    log::warning("at most {} are taken: no more files may be open (LimitNOFILE)", counted(most, "connection"));
  systemd::notifyReady(parts.report.statusLine());
}

Reloaded Assembly::reload(const std::function<config::Loaded()>& load, const std::string& actor) {
  systemd::notifyReloading();
  auto result = parts_->reloading.reload(load, actor);
  parts_->held_circuits.tryToLook();  // also of a provider that it brought
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
  parts.warm_up.stop();
  parts.housekeeping.stop();
  parts.held_circuits.stop();
  parts.prober.setDraining();
  parts.listener.stopAccepting();
  (void)parts.io.responsive(kCut);  // they have counted who is to be waited for
  parts.engine.stop();              // others go on with the debates at once, whatever the requests still take
  if (!parts.listener.waitUntilIdle(drained))
    log::warning("requests were still running after {} s and were cut", drain.count());
  parts.hub.closeAll();
  parts.desk.closeAll();
  parts.backups.askToStop();
  parts.workers.stop(kLastAnswers);
  parts.speech.stop();
  parts.sisters.stop();
  parts.follower.stop();
  for (const auto goodbye = deadlineIn(kGoodbye); parts.hub.clients() > 0 && remaining(goodbye).count() > 0;)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  parts.listener.closeAll();
  parts.hub.dropAll();
  parts.desk.dropAll();
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
