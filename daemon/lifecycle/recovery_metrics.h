// How well this deployment could be recovered, as metrics. Reads the backup directory at most every fifteen seconds
// and the copy elsewhere every ten minutes, whoever asks; thread-safe.
#pragma once

#include <mutex>

#include "common/config/config.h"
#include "common/crypto/keyring.h"
#include "common/drill/completeness.h"
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
  std::chrono::steady_clock::time_point asked_at_{};  // the place elsewhere, which costs requests
  std::optional<drill::Elsewhere> elsewhere_;
};

}  // namespace aragora::lifecycle
