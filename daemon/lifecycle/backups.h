// The backups that the daemon makes by itself: the configuration whenever it changed, and, with backup.continuous,
// everything that the policy says is due. Runs in a thread of its own.
#pragma once

#include <atomic>
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
  // The last changes are still saved; what takes longer than a second (a full backup, a copy elsewhere) is ended.
  void stop();

 private:
  backup::ContinuousOptions options_;
  bool continuous_;
  metrics::Registry& metrics_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> ended_{true};
  std::jthread thread_;
};

}  // namespace aragora::lifecycle
