// What a daemon owes to debates that ended, beside those that run: receipts for those that a version without them
// ended, and idempotency keys and marks of removal forgotten after a day. One thread, at once after a start and every
// few minutes then, which takes at most half of its time from what people wait for. What fails is said and tried again.
#pragma once

#include <thread>

#include "common/base/interrupt.h"
#include "common/crypto/keyring.h"
#include "common/store/debates.h"

namespace aragora::lifecycle {

class Housekeeping {
 public:
  Housekeeping(database::Database& database, const crypto::Keyring& keyring, store::Debates& debates)
      : database_(database), keyring_(keyring), debates_(debates) {}
  ~Housekeeping() { stop(); }
  void start();
  void stop();

 private:
  void run();
  bool round();
  void issueOwedReceipts();
  database::Database& database_;
  const crypto::Keyring& keyring_;
  store::Debates& debates_;
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::lifecycle
