// This process as the operating system sees it, and what it sees of the host: under ProcSubset=pid much of /proc is
// hidden, and what cannot be read is left out. Any thread.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "common/metrics/metrics.h"

namespace aragora::lifecycle {

struct HostView {
  std::filesystem::path proc = "/proc";
  std::map<std::string, std::filesystem::path> places = {};  // whose file systems are shown, by a name for each
};

void collectProcessMetrics(metrics::Registry& registry, const HostView& host);

}  // namespace aragora::lifecycle
