// Says elsewhere where the audit log ends, so that a tail that somebody cuts off is missed: signed in the state
// directory every minute in which it grew, in the journal every five minutes or thousand entries. At the start it holds
// the log against what was said before. One thread; a database that is away is asked again.
#pragma once

#include "common/audit/audit.h"
#include "common/base/interrupt.h"

namespace aragora::lifecycle {

struct AuditWatchOptions {
  fs::path state_directory;
  std::chrono::milliseconds interval = std::chrono::minutes(1);
};

class AuditWatch {
 public:
  AuditWatch(AuditWatchOptions options, database::Database& database, const crypto::Keyring& keyring);
  ~AuditWatch() { stop(); }
  void start();
  void stop();
  // Whether the log contradicts what was written down about it; said once in the log.
  bool broken() const { return broken_; }

 private:
  void watch();
  void look();
  void compare(database::Connection& connection);
  void sayInJournal(const audit::Head& now);

  AuditWatchOptions options_;
  database::Database& database_;
  const crypto::Keyring& keyring_;
  audit::Head noted_;
  audit::Head journalled_;
  std::chrono::steady_clock::time_point journalled_at_{};
  std::string instance_;
  bool compared_ = false;
  bool failing_ = false;  // told
  std::atomic<bool> broken_{false};
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::lifecycle
