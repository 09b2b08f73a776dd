// Says elsewhere where the audit log ends, so that a tail that somebody cuts off is missed: signed in the state
// directory every minute in which it grew, in the journal every five minutes or thousand entries. Before anything is
// written down the log is held against what was: the notes of the state directory, the backups here and elsewhere. One
// thread; a database or a place that is away is asked again.
#pragma once

#include "common/backup/audit_notes.h"
#include "common/base/interrupt.h"

namespace aragora::lifecycle {

struct AuditWatchOptions {
  fs::path state_directory;
  fs::path backups;
  std::optional<storage::Place> elsewhere = {};
  std::chrono::milliseconds interval = std::chrono::minutes(1);
};

class AuditWatch {
 public:
  AuditWatch(AuditWatchOptions options, database::Database& database, const crypto::Keyring& keyring);
  ~AuditWatch() { stop(); }
  void start();
  void stop();
  // Whether the log contradicts what was written down about it, or somebody else wrote in the place of that; said once
  // in the log.
  bool broken() const { return broken_; }

 private:
  void watch();
  void look();
  void reconsider();
  void askWitnesses();
  void askElsewhere();
  void take(backup::AuditNotes notes);
  void compare(database::Connection& connection);
  void sayInJournal(const audit::Head& now);

  AuditWatchOptions options_;
  database::Database& database_;
  const crypto::Keyring& keyring_;
  backup::AuditNotes notes_;  // not yet compared
  audit::Head noted_;
  Micros noted_at_ = 0;
  audit::Head journalled_;
  std::chrono::steady_clock::time_point journalled_at_{};
  std::string instance_;
  bool asked_ = false;
  bool asked_elsewhere_ = false;
  Micros accepted_at_ = 0;
  bool away_ = false;     // told
  bool failing_ = false;  // told
  std::atomic<bool> broken_{false};
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::lifecycle
