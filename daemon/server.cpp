#include "daemon/server.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "common/backup/continuous.h"
#include "common/backup/usage_lock.h"
#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/checks/check.h"
#include "common/deployment/deployment.h"
#include "common/migrate/migrator.h"
#include "common/storage/location.h"
#include "common/store/settings.h"
#include "common/systemd/service_manager.h"
#include "daemon/api/api.h"
#include "daemon/edge/listener.h"
#include "daemon/lifecycle/recovery_metrics.h"

namespace aragora::daemon {

namespace key = config::key;

namespace {
// For our own first run to end when a reload follows the start at once; what a longer one holds up is made by the next.
constexpr std::chrono::seconds kKeepTime{5};

// Blocked before any thread starts, so that only waitForSignal() sees them.
sigset_t blockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return set;
}

void configureLog(const config::Config& config) {
  log::configure(log::parseLevel(config.text(key::kLogLevel)).value_or(log::Level::Info),
                 config.text(key::kLogFormat) == "json");
}

void raiseOpenFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// The same checks as validate-env, those tagged for start-up. Throws with all failures.
void validate(const config::Loaded& loaded) {
  const auto report = checks::runChecks({loaded.config, loaded.problems, loaded.environment_origins, loaded.config_file,
                                         "", false, std::chrono::seconds(5), nullptr},
                                        {{}, {}, true});
  std::vector<std::string> failures;
  for (const auto& outcome : report.outcomes) {
    for (const auto& finding : outcome.findings) {
      const auto text =
          fmt::format("{}{}{}", finding.message, finding.origin.empty() ? "" : fmt::format(" [{}]", finding.origin),
                      finding.hint.empty() ? "" : fmt::format(" → {}", finding.hint));
      if (finding.level == checks::Level::Failure) failures.push_back(text);
      if (finding.level == checks::Level::Warning) log::warning("{}", text);
    }
  }
  if (failures.empty()) return;
  auto code = Code::Unreachable;
  for (const auto cause : {Code::Permission, Code::Config}) {
    if (report.exitStatus(false) == info(cause).exit_status) code = cause;
  }
  throw Error(code,
              fmt::format("the daemon does not start: {} failed\n  {}", counted(failures.size(), "check"),
                          join(failures, "\n  ")),
              config::hintToValidate());
}

// Outside production the embedded database migrates itself; everything else is an operator's decision.
void prepareDatabase(const config::Config& config, const database::Target& target) {
  migrate::Options options;
  options.on_message = [](std::string_view message) { log::info("{}", message); };
  migrate::Migrator migrator(target, options);
  if (target.engine == database::Engine::Sqlite && !config.production()) migrator.up();
  const auto status = migrator.status();
  if (!status.current())
    throw Error(Code::Config,
                fmt::format("{} {} pending", counted(status.pending.size(), "migration"),
                            agreeing(status.pending.size(), "is", "are")),
                "run: aragora migrate");
}

double processCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double residentBytes() {
  std::ifstream statm("/proc/self/statm");
  double size = 0;
  double resident = 0;
  statm >> size >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

std::size_t openDescriptors() {
  std::error_code ignored;
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    (void)entry;
    ++count;
  }
  return count;
}

class Daemon {
 public:
  Daemon(config::Loaded loaded, std::function<config::Loaded()> load)
      : load_(std::move(load)),
        loaded_(std::move(loaded)),
        config_(loaded_.config),
        keyring_(deployment::requireKeyring(config_)),
        target_(deployment::databaseTarget(config_)),
        usage_lock_(lockEmbedded(target_)),
        database_(openPrepared()),
        accounts_(*database_, keyring_, config_),
        debates_(*database_),
        pages_(*database_),
        ratings_(*database_),
        providers_(config_),
        prober_(config_, *database_, [this](const lifecycle::Probe& probe) { afterProbe(probe); }),
        workers_(static_cast<std::size_t>(config_.integer(key::kWorkers)),
                 static_cast<std::size_t>(config_.integer(key::kQueueLimit))),
        engine_(runServices(), instanceName(), static_cast<std::size_t>(config_.integer(key::kMaxConcurrent))),
        services_{config_,    accounts_, *database_, debates_, pages_,   ratings_,
                  providers_, engine_,   metrics_,   prober_,  keyring_, lists_},
        middleware_(config_, addRoutes(), metrics_, accounts_),
        listener_(listenerOptions(), middleware_, workers_, hub_, debates_, metrics_,
                  [this] { return engine_.active(); }) {
    collectMetrics();
  }

  void start() {
    prober_.start();
    engine_.start();
    listener_.start();
    backups_ = std::thread([this] {
      keepConfiguration(config_);
      if (config_.flag(key::kBackupContinuous)) saveContinuously();
    });
    log::info("aragora {} listens on http://{}:{} ({}, {})", kVersion, config_.text(key::kBindHost), listener_.port(),
              config_.text(key::kEnvironment), database::describe(target_));
    systemd::notifyReady(statusLine());
  }

  void reload() {
    systemd::notifyReloading();
    try {
      auto fresh = load_();
      config::requireNoProblems(fresh.problems);
      deployment::loadGeneratedSecrets(fresh.config);
      configureLog(fresh.config);
      keepConfiguration(fresh.config);
      middleware_.reload(fresh.config);
      log::info("configuration reloaded");
      sayWhatNeedsARestart(fresh.config);
    } catch (const Error& error) {
      log::error("the configuration was not reloaded: {}", error.what());
    }
    systemd::notifyReady(statusLine());
  }

  // Not ready, no new connections, requests finished, debates handed back.
  void stop() {
    const auto seconds = std::chrono::seconds(config_.integer(key::kDrainSeconds));
    const auto deadline = deadlineIn(seconds);
    systemd::notifyStopping();
    systemd::extendStop((seconds.count() + 10) * 1'000'000);
    prober_.setDraining();
    listener_.stopAccepting();
    if (!listener_.waitUntilIdle(deadline))
      log::warning("requests were still running after {} s and were cut", seconds.count());
    hub_.closeAll();
    engine_.stop();
    stop_backups_ = true;
    if (backups_.joinable()) backups_.join();  // what the last requests changed is saved
    workers_.stop();
    listener_.stop();
    prober_.stop();
    log::info("stopped");
  }

 private:
  void sayWhatNeedsARestart(const config::Config& fresh) const {
    std::vector<std::string> changed;
    for (const auto& setting : config::catalogue()) {
      if (setting.reloadable || config_.secret(setting.key).reveal() == fresh.secret(setting.key).reveal()) continue;
      changed.push_back(setting.secret ? std::string(setting.key)
                                       : fmt::format("{} ({} now, {} in the configuration)", setting.key,
                                                     printable(config_.text(setting.key), 80),
                                                     printable(fresh.text(setting.key), 80)));
    }
    if (!changed.empty()) log::warning("these take effect after a restart only: {}", join(changed, ", "));
  }

  static std::optional<backup::UsageLock> lockEmbedded(const database::Target& target) {
    if (target.engine != database::Engine::Sqlite) return std::nullopt;
    makeDirectories(target.path.parent_path(), 0750);
    auto lock = backup::UsageLock::tryAcquire(target.path);
    if (!lock)
      throw Error(
          Code::Busy,
          fmt::format("another daemon uses {} ({})", target.path.string(), backup::UsageLock::holder(target.path)),
          "stop it first, or set ARAGORA_STATE_DIR");
    return lock;
  }

  std::unique_ptr<database::Database> openPrepared() {
    prepareDatabase(config_, target_);
    if (usage_lock_ && !usage_lock_->coverFile())
      throw Error(Code::Busy, fmt::format("another daemon uses {} by another name", target_.path.string()),
                  "stop it first, or set ARAGORA_STATE_DIR");
    auto database = database::openDatabase(target_);
    database->write([this](database::Connection& connection) { store::requireSameKey(connection, keyring_); });
    return database;
  }

  debate::RunServices runServices() {
    return {debates_,
            ratings_,
            providers_,
            metrics_,
            [this](const store::Event& event) {
              lists_.drop();
              hub_.publish(event);
            },
            std::chrono::seconds(config_.integer(key::kCallTimeout)),
            std::chrono::seconds(config_.integer(key::kDebateDeadline))};
  }

  const web::Router& addRoutes() {
    api::addHealthRoutes(router_, services_);
    api::addDebateRoutes(router_, services_);
    api::addAgentRoutes(router_, services_);
    api::addAccountRoutes(router_, services_);
    api::addMetricsRoute(router_, services_);
    api::addOpenApiRoutes(router_);
    return router_;
  }

  edge::ListenerOptions listenerOptions() const {
    return {config_.text(key::kBindHost), static_cast<std::uint16_t>(config_.integer(key::kPort)), 2,
            static_cast<std::size_t>(config_.integer(key::kMaxConnections)), systemd::inheritedSockets()};
  }

  // A version of the settings whenever they changed, where backups are made at all.
  void keepConfiguration(const config::Config& config) {
    std::error_code ignored;
    if (!std::filesystem::exists(config.backupDirectory() / "full", ignored)) return;
    try {
      auto options = backup::createOptions(config, target_, keyring_);
      options.lock_wait = kKeepTime;
      for (const auto& made :
           backup::createWhatIsDue(options, {backup::ruleOf(backup::policyOf(config), "configuration")}))
        log::info("the configuration changed and is kept as {}", made.id);
    } catch (const std::exception& error) {
      metrics_.count("aragora_backup_failures_total");
      log::warning("the configuration could not be kept: {}", error.what());
    }
  }

  void saveContinuously() {
    backup::ContinuousOptions how;
    how.create = backup::createOptions(config_, target_, keyring_);
    how.interval = std::chrono::seconds(config_.integer(key::kBackupInterval));
    how.policy = backup::policyOf(config_);
    how.offsite = storage::offsite(config_);
    how.on_message = [](const std::string& message) { log::info("backup: {}", message); };
    how.on_failure = [this](const std::string& reason) {
      metrics_.count("aragora_backup_failures_total");
      log::error("backup: {}; tried again after the interval", reason);
    };
    backup::runContinuously(how, stop_backups_);
  }

  void collectMetrics() {
    metrics_.gauge("aragora_build_info", 1, {{"version", std::string(kVersion)}, {"commit", std::string(kCommit)}});
    metrics_.gauge("process_start_time_seconds", static_cast<double>(nowMicros()) / 1e6);
    metrics_.onCollect([this](metrics::Registry& registry) {
      registry.gauge("aragora_http_connections", static_cast<double>(listener_.connections()));
      registry.gauge("aragora_websocket_connections", static_cast<double>(hub_.clients()));
      registry.gauge("aragora_active_debates", static_cast<double>(engine_.active()));
      registry.gauge("aragora_worker_queue_length", static_cast<double>(workers_.queued()));
      registry.gauge("aragora_db_pool_size", static_cast<double>(database_->pool().size));
      registry.gauge("aragora_db_pool_available", static_cast<double>(database_->pool().available));
      registry.gauge("process_resident_memory_bytes", residentBytes());
      registry.gauge("process_cpu_seconds_total", processCpuSeconds());
      registry.gauge("process_open_fds", static_cast<double>(openDescriptors()));
      recovery_metrics_.collect(registry);
    });
  }

  std::string statusLine() const {
    const auto probe = prober_.latest();
    return fmt::format("{}, {}, {}, database {}", prober_.draining() ? "draining" : "serving",
                       counted(listener_.connections(), "connection"), counted(engine_.active(), "debate"),
                       probe->database);
  }

  // The watchdog hears from us only when the I/O threads and the workers made progress.
  void afterProbe(const lifecycle::Probe&) {
    if (!started_probing_) {
      started_probing_ = true;
      return;
    }
    systemd::notifyStatus(statusLine());
    if (systemd::watchdogEnabled() && listener_.responsive(std::chrono::seconds(5))) systemd::notifyWatchdog();
  }

  std::function<config::Loaded()> load_;
  config::Loaded loaded_;
  const config::Config& config_;
  crypto::Keyring keyring_;
  database::Target target_;
  std::optional<backup::UsageLock> usage_lock_;
  std::unique_ptr<database::Database> database_;
  accounts::Accounts accounts_;
  store::Debates debates_;
  store::DebatePages pages_;
  store::Ratings ratings_;
  providers::Providers providers_;
  metrics::Registry metrics_;
  lifecycle::RecoveryMetrics recovery_metrics_{config_, keyring_};
  ws::Hub hub_;
  api::ListCache lists_;
  lifecycle::Prober prober_;
  edge::WorkerPool workers_;
  debate::Engine engine_;
  api::Services services_;
  web::Router router_;
  web::Guard middleware_;
  edge::Listener listener_;
  std::atomic<bool> started_probing_{false};
  std::atomic<bool> stop_backups_{false};
  std::thread backups_;
};
}  // namespace

int serve(const std::function<config::Loaded()>& load) {
  const auto signals = blockSignals();
  // Thousands of short-lived threads must not each get an arena.
  ::mallopt(M_ARENA_MAX, 4);
  raiseOpenFileLimit();
  auto loaded = load();
  configureLog(loaded.config);
  if (loaded.problems.empty()) {
    for (const auto& path : deployment::ensureGeneratedSecrets(loaded.config))
      log::info("generated {} (mode 0600)", path.string());
  }
  validate(loaded);
  Daemon daemon(std::move(loaded), load);
  daemon.start();
  while (true) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    if (signal == SIGHUP) {
      daemon.reload();
      continue;
    }
    if (signal == SIGUSR1 || signal == SIGUSR2) {
      log::info("signal {} means nothing here; SIGHUP reloads, SIGTERM stops", signal);
      continue;
    }
    log::info("stopping on signal {}", signal);
    daemon.stop();
    return 0;
  }
}

}  // namespace aragora::daemon
