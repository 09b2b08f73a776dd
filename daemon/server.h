// The daemon's composition root: everything `aragora serve` is made of is put together here. The only header of daemon/
// that cli/ includes.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "common/config/loader.h"

namespace aragora::daemon {

// Runs until SIGTERM or SIGINT; answers the exit status. `load` reads the configuration anew (start and SIGHUP).
// Refuses to start when a start-up check fails: 78 for configuration, 69 for a dependency.
int serve(const std::function<config::Loaded()>& load);

// What a provider said when it was asked for a token.
struct ProbedProvider {
  std::string provider;
  std::string model;  // that was asked for
  bool answered = false;
  std::string why{};  // it did not
  std::string fix{};
  std::chrono::milliseconds latency{0};
};
// All that are configured, at once; each has so long. Needs no daemon that runs, asks once and nobody else instead.
std::vector<ProbedProvider> probeProviders(const config::Config& config, std::chrono::seconds within);

}  // namespace aragora::daemon
