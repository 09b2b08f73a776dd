// Counts the standings once after a start, so that no client waits while the log of matches is walked: whoever asks
// meanwhile waits for the rest of it only, and readiness for nothing. One thread, which ends when it is done, or at
// once when it is told to. A database that cannot be asked leaves it to the first who asks.
#pragma once

#include <thread>

#include "common/base/interrupt.h"
#include "common/store/standings.h"

namespace aragora::lifecycle {

class WarmUp {
 public:
  explicit WarmUp(store::Standings& standings) : standings_(standings) {}
  ~WarmUp() { stop(); }
  void start();
  void stop();

 private:
  void count();
  store::Standings& standings_;
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::lifecycle
