#include "daemon/lifecycle/backups.h"

#include <pthread.h>
#include <unistd.h>

#include "common/base/interrupt.h"
#include "common/base/log.h"

namespace aragora::lifecycle {

namespace {
// For our own first run to end when a reload follows the start at once; what a longer one holds up is made by the next.
constexpr std::chrono::seconds kKeepTime{5};
constexpr std::chrono::seconds kPatience{1};
}  // namespace

Backups::Backups(backup::ContinuousOptions options, bool continuous, metrics::Registry& metrics)
    : options_(std::move(options)), continuous_(continuous), metrics_(metrics) {
  options_.on_message = [](const std::string& message) { log::info("backup: {}", message); };
  options_.on_failure = [this](const std::string& reason) {
    if (stopping_.turned()) return;
    metrics_.count("aragora_backup_failures_total");
    log::tell(log::Event::BackupFailed, log::Level::Error, "backup: {}; tried again after the interval", reason);
  };
}

void Backups::start() {
  ended_ = false;
  thread_ = std::jthread([this] {
    ::pthread_setname_np(::pthread_self(), "backups");
    const interrupt::Minding minding(at_once_);
    keepConfiguration(options_.create);
    if (continuous_) backup::runContinuously(options_, stopping_);
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
  });
}

void Backups::keepConfiguration(const backup::CreateOptions& given) const {
  std::error_code ignored;
  if (!std::filesystem::exists(given.directory / name(backup::Kind::Full), ignored)) return;
  // The installed daemon may not write there: whoever makes its backups keeps the configuration with them.
  if (!continuous_ && ::access(given.directory.c_str(), W_OK) != 0) return;
  try {
    auto options = given;
    options.lock_wait = kKeepTime;
    for (const auto& made :
         backup::createWhatIsDue(options, {backup::ruleOf(options_.policy, backup::Kind::Configuration)}))
      log::info("the configuration changed and is kept as {}", made.id);
  } catch (const std::exception& error) {
    if (stopping_.turned()) return;
    if (interrupt::minded() && interrupt::minded()->turned()) return;
    metrics_.count("aragora_backup_failures_total");
    log::warning("the configuration could not be kept: {}", error.what());
  }
}

void Backups::stop() {
  askToStop();
  if (!thread_.joinable()) return;
  {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [this] { return ended_; }))
      log::info("backup: the last changes are not saved or copied in time; that is done after the next start");
  }
  at_once_.turn();
  thread_.join();
}

}  // namespace aragora::lifecycle
