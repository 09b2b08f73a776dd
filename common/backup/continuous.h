// Backups without end: everything that the policy says is due, for SQLite an increment after each interval in which
// something changed, and a copy of all of it elsewhere. At most the interval is lost. Runs in `aragora backup run` or
// inside the daemon.
#pragma once

#include "common/backup/create.h"
#include "common/backup/increments.h"
#include "common/backup/offsite.h"
#include "common/base/interrupt.h"

namespace aragora::backup {

struct ContinuousOptions {
  CreateOptions create;
  std::chrono::seconds interval{60};
  Policy policy;
  std::optional<storage::Place> offsite;
  // Called from two threads: the one that saves and the one that copies.
  std::function<void(const std::string&)> on_message;  // what was made
  std::function<void(const std::string&)> on_failure;  // tried again after the next interval
  std::function<void()> on_alive;                      // at least once a second
  std::optional<std::chrono::milliseconds> last_copy;  // how long it may take when this ends; else what it takes
};

// Until `stop` is turned, which ends a backup that is under way; the last changes before it are still saved and copied,
// unless the switch that this thread minds is turned, too.
void runContinuously(const ContinuousOptions& options, const interrupt::Switch& stop);

}  // namespace aragora::backup
