#include "daemon/lifecycle/warm_up.h"

#include <pthread.h>

#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::lifecycle {

void WarmUp::start() {
  thread_ = std::jthread([this] { count(); });
}

void WarmUp::stop() {
  stopping_.turn();
  if (thread_.joinable()) thread_.join();
}

// The thread's catch-all: whatever is in the way will be said to whoever asks.
void WarmUp::count() {
  ::pthread_setname_np(::pthread_self(), "warm-up");
  const interrupt::Minding minding(stopping_);
  const auto started = std::chrono::steady_clock::now();
  try {
    const auto matches = standings_.warm();
    if (matches > 0)
      log::info("leaderboard: {} counted in {}", counted(matches, "match"), humanDuration(secondsSince(started)));
  } catch (const std::exception& error) {
    log::debug("leaderboard: not counted ahead: {}", error.what());
  }
}

}  // namespace aragora::lifecycle
