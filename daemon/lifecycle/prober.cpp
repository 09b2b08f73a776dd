#include "daemon/lifecycle/prober.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::lifecycle {

namespace {
// A database that goes silent is to be known within two seconds; a look at it takes one at most.
constexpr auto kInterval = std::chrono::milliseconds(500);
constexpr std::size_t kRoom = 65536;  // what there has to be space for, and nothing can make smaller
}  // namespace

Prober::Prober(ProberOptions options, database::Database& database, std::function<void(const Probe&)> after_probe)
    : options_(std::move(options)), database_(database), after_probe_(std::move(after_probe)) {}

void Prober::start() {
  look();
  thread_ = std::jthread([this] {
    const interrupt::Minding minding(stopping_);
    while (!stopping_.waitFor(kInterval)) look();
  });
}

void Prober::stop() {
  stopping_.turn();
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
    probe->database = probe->read_only.empty() ? DatabaseState::Connected : DatabaseState::ReadOnly;
    if (probe->read_only.empty() && stillFull()) {
      probe->read_only = "no space left";
      probe->database = DatabaseState::Full;
    }
  } catch (const Error& error) {
    probe->database = DatabaseState::Unreachable;
    const auto* details = error.details().if_object();
    probe->away = details != nullptr ? jsonTextOr(*details, "reason", "") : "";
    log::debug("database probe: {}", error.what());
  }
  probe->database_ms = secondsSince(started) * 1000;
  probe->agents = options_.agents;
  probe->redis_required = options_.redis_required;
  probe->redis = options_.redis();
  if (stopping_.turned()) return;  // what was broken off says nothing
  {
    const std::lock_guard lock(mutex_);
    const bool first = latest_->database == DatabaseState::Unknown;
    const auto& why = probe->read_only.empty() ? probe->away : probe->read_only;
    if (latest_->database != probe->database && !first)
      log::tell(log::Event::DatabaseState, log::Level::Warning, "database: {}{}", name(probe->database),
                why.empty() ? "" : fmt::format(" ({})", why));
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
