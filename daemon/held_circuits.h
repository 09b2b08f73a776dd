// Circuits as administrators left them, over restarts and whatever was heard of it or not: the database says so, and
// each instance reads it every few seconds. One thread.
#pragma once

#include <thread>

#include "common/base/interrupt.h"
#include "common/database/database.h"
#include "daemon/providers/provider.h"

namespace aragora::daemon {

class HeldCircuits {
 public:
  HeldCircuits(database::Database& database, const providers::Providers& providers)
      : database_(database), providers_(providers) {}
  ~HeldCircuits() { stop(); }
  void start();
  void stop();
  // Now, in the caller's thread. Throws what reading throws; tryToLook() leaves it to the next time.
  void look();
  void tryToLook();

 private:
  void run();
  database::Database& database_;
  const providers::Providers& providers_;
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::daemon
