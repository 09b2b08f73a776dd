#include "common/net/limits.h"

#include <algorithm>
#include <thread>

#include "common/base/error.h"
#include "common/base/interrupt.h"

namespace aragora::net {

void checkStopped(const std::stop_token& stop) {
  if (stop.stop_requested()) throw Error(Code::Interrupted, "stopped while it waited for the network");
  interrupt::check();
}

void pause(std::chrono::milliseconds span, const std::stop_token& stop) {
  const auto until = deadlineIn(span);
  checkStopped(stop);
  while (std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_until(std::min(until, deadlineIn(std::chrono::milliseconds(50))));
    checkStopped(stop);
  }
}

}  // namespace aragora::net
