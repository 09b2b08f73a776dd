// Which instance probes a provider whose circuit is half-open: a key in Redis for each provider, which holds the name
// of the probe and lasts no longer than it may. Without a Redis that answers at once nobody holds anything.
// Thread-safe.
#pragma once

#include "daemon/cluster/sisters.h"
#include "daemon/providers/breaker.h"

namespace aragora::cluster {

class SharedProbes : public providers::ProbeLeases {
 public:
  // The sisters outlive it. `patience` is how long taking one waits for Redis.
  explicit SharedProbes(Sisters& sisters, std::chrono::milliseconds patience = std::chrono::milliseconds(100));

  std::optional<Held> take(const std::string& provider, const std::string& probe, providers::Span lease) override;
  void giveBack(const std::string& provider, const std::string& probe) override;

 private:
  std::string keyOf(const std::string& provider) const { return sisters_.key("probe:" + provider); }

  Sisters& sisters_;
  std::chrono::milliseconds patience_;
  redis::Script take_;
  redis::Script give_back_;
};

}  // namespace aragora::cluster
