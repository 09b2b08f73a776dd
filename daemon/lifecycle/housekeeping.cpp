#include "daemon/lifecycle/housekeeping.h"

#include <pthread.h>

#include "common/base/log.h"
#include "common/base/text.h"
#include "common/store/receipts.h"

namespace aragora::lifecycle {

namespace {
using Clock = std::chrono::steady_clock;
constexpr auto kBetweenRounds = std::chrono::minutes(10);
constexpr auto kAfterFailure = std::chrono::minutes(1);
}  // namespace

void Housekeeping::start() {
  thread_ = std::jthread([this] { run(); });
}

void Housekeeping::stop() {
  stopping_.turn();
  if (thread_.joinable()) thread_.join();
}

void Housekeeping::run() {
  ::pthread_setname_np(::pthread_self(), "housekeeping");
  const interrupt::Minding minding(stopping_);
  while (!stopping_.waitFor(round() ? kBetweenRounds : kAfterFailure)) {
  }
}

// The thread's catch-all. Whether all was done.
bool Housekeeping::round() {
  try {
    debates_.forgetAfterADay();
    issueOwedReceipts();
    return true;
  } catch (const std::exception& error) {
    if (!stopping_.turned())
      log::warning("housekeeping failed and is tried again in {}: {}", humanDuration(kAfterFailure), error.what());
    return false;
  }
}

// A large database owes many of them after an upgrade: as long as one took, nobody is in the way of anything.
void Housekeeping::issueOwedReceipts() {
  auto began = Clock::now();
  const auto late = store::Receipts(database_, keyring_).catchUp([&] {
    stopping_.waitFor(std::chrono::ceil<std::chrono::milliseconds>(Clock::now() - began));
    interrupt::check();
    began = Clock::now();
  });
  if (late > 0) log::info("{} of debates that had ended without one issued", counted(late, "receipt"));
}

}  // namespace aragora::lifecycle
