// The backups that the daemon makes by itself: the configuration whenever it changed, and, with backup.continuous,
// everything that the policy says is due. Runs in a thread of its own.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "common/backup/continuous.h"
#include "common/metrics/metrics.h"

namespace aragora::lifecycle {

class Backups {
 public:
  // `options` without its callbacks. `continuous`: not the configuration alone.
  Backups(backup::ContinuousOptions options, bool continuous, metrics::Registry& metrics);
  ~Backups() { stop(); }
  void start();
  // A version of the settings, when they are not those that are kept and backups are made at all.
  void keepConfiguration(const backup::CreateOptions& options) const;
  // Ends a backup that is under way at once, and returns; the last changes are still saved.
  void askToStop() { stopping_.turn(); }
  // The same, and waits for it: a second, then the last changes and a copy elsewhere are given up, too.
  void stop();

 private:
  backup::ContinuousOptions options_;
  bool continuous_;
  metrics::Registry& metrics_;
  interrupt::Switch stopping_;
  interrupt::Switch at_once_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = true;
  std::jthread thread_;
};

}  // namespace aragora::lifecycle
