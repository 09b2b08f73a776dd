// How well this deployment could be recovered, as metrics. Reads the backup directory at most every fifteen seconds,
// whoever asks; thread-safe.
#pragma once

#include <mutex>

#include "common/config/config.h"
#include "common/crypto/keyring.h"
#include "common/metrics/metrics.h"

namespace aragora::lifecycle {

class RecoveryMetrics {
 public:
  // Both must outlive it.
  RecoveryMetrics(const config::Config& config, const crypto::Keyring& keyring) : config_(config), keyring_(keyring) {}
  void collect(metrics::Registry& registry);

 private:
  const config::Config& config_;
  const crypto::Keyring& keyring_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point looked_at_{};
};

}  // namespace aragora::lifecycle
