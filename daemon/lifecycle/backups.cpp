#include "daemon/lifecycle/backups.h"

#include <pthread.h>

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
    if (stopping_) return;
    metrics_.count("aragora_backup_failures_total");
    log::error("backup: {}; tried again after the interval", reason);
  };
}

void Backups::start() {
  ended_ = false;
  thread_ = std::jthread([this] {
    ::pthread_setname_np(::pthread_self(), "backups");
    keepConfiguration(options_.create);
    if (continuous_) backup::runContinuously(options_, stopping_);
    ended_ = true;
  });
}

void Backups::keepConfiguration(const backup::CreateOptions& given) const {
  std::error_code ignored;
  if (!std::filesystem::exists(given.directory / name(backup::Kind::Full), ignored)) return;
  try {
    auto options = given;
    options.lock_wait = kKeepTime;
    for (const auto& made :
         backup::createWhatIsDue(options, {backup::ruleOf(options_.policy, backup::Kind::Configuration)}))
      log::info("the configuration changed and is kept as {}", made.id);
  } catch (const std::exception& error) {
    if (stopping_) return;
    metrics_.count("aragora_backup_failures_total");
    log::warning("the configuration could not be kept: {}", error.what());
  }
}

void Backups::stop() {
  stopping_ = true;
  if (!thread_.joinable()) return;
  const auto deadline = deadlineIn(kPatience);
  while (!ended_ && remaining(deadline).count() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (!ended_) {
    log::info("a backup is still being made; it is ended and made anew after the next start");
    interrupt::windDown();
  }
  thread_.join();
}

}  // namespace aragora::lifecycle
