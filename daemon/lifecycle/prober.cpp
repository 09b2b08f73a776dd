#include "daemon/lifecycle/prober.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/config/agents.h"
#include "common/crypto/hash.h"
#include "common/redis/client.h"

namespace aragora::lifecycle {

namespace {
constexpr auto kInterval = std::chrono::seconds(1);
constexpr std::size_t kRoom = 65536;  // what there has to be space for, and nothing can make smaller
constexpr auto kRedisTimeout = std::chrono::milliseconds(1000);
}  // namespace

Prober::Prober(const config::Config& config, database::Database& database,
               std::function<void(const Probe&)> after_probe)
    : config_(config), database_(database), after_probe_(std::move(after_probe)) {}

void Prober::start() {
  look();
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!stopped_.wait_for(lock, kInterval, [this] { return stopping_; })) {
      lock.unlock();
      look();
      lock.lock();
    }
  });
}

void Prober::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// A write that found no space says so; that there is some again is seen by writing.
bool Prober::stillFull() {
  if (database_.whyFull().empty()) return false;
  try {
    for (const auto& text : {toHex(crypto::randomBytes(kRoom / 2)), std::string()})
      database_.write([&](database::Connection& connection) {
        connection.query(
            "INSERT INTO settings (name, value, updated_at) VALUES ('room', $1, $2) ON CONFLICT (name) DO "
            "UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
            {text, nowMicros()});
      });
  } catch (const Error& error) {
    if (error.code() != Code::StorageFull) throw;
    return true;
  }
  database_.foundSpace();
  return false;
}

void Prober::look() {
  auto probe = std::make_shared<Probe>();
  const auto started = std::chrono::steady_clock::now();
  try {
    database_.ping();
    probe->read_only = database_.whyReadOnly();
    probe->database = probe->read_only.empty() ? "connected" : "read_only";
    if (probe->read_only.empty() && stillFull()) {
      probe->read_only = "no space left";
      probe->database = "full";
    }
  } catch (const Error& error) {
    probe->database = "unreachable";
    log::debug("database probe: {}", error.what());
  }
  probe->database_ms = secondsSince(started) * 1000;
  // By configuration; calls themselves are judged by their own results.
  probe->agents = config::agentsState(config_);
  probe->redis_required = config_.sharedStateRequired();
  if (config_.isSet(config::key::kRedisUrl)) {
    try {
      redis::Client client(config_.secret(config::key::kRedisUrl), kRedisTimeout);
      client.ping();
      probe->redis = "connected";
    } catch (const Error& error) {
      probe->redis = "unreachable";
      log::debug("Redis probe: {}", error.what());
    }
  }
  {
    const std::lock_guard lock(mutex_);
    if (latest_->database != probe->database && latest_->database != "unknown")
      log::warning("database: {}{}", probe->database,
                   probe->read_only.empty() ? "" : fmt::format(" ({})", probe->read_only));
    if (latest_->redis != probe->redis && latest_->database != "unknown") log::warning("Redis: {}", probe->redis);
    latest_ = probe;
  }
  if (after_probe_) after_probe_(*probe);
}

std::shared_ptr<const Probe> Prober::latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

double Prober::uptimeSeconds() const { return secondsSince(started_); }

}  // namespace aragora::lifecycle
