// How well this deployment could be recovered, as metrics. Reads the backup directory at most every fifteen seconds
// and the copy elsewhere every ten minutes, whoever asks; thread-safe.
#pragma once

#include <mutex>

#include "common/drill/recovery_state.h"
#include "common/metrics/metrics.h"

namespace aragora::lifecycle {

class RecoveryMetrics {
 public:
  explicit RecoveryMetrics(drill::StateOptions options) : options_(std::move(options)) {}
  void collect(metrics::Registry& registry);

 private:
  drill::StateOptions options_;  // with what was found elsewhere, which costs requests
  std::mutex mutex_;
  std::chrono::steady_clock::time_point looked_at_{};
  std::chrono::steady_clock::time_point asked_at_{};  // there
};

}  // namespace aragora::lifecycle
