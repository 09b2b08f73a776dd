#include "daemon/lifecycle/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace aragora::lifecycle {

namespace {
double processCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double residentBytes() {
  std::ifstream statm("/proc/self/statm");
  double size = 0;
  double resident = 0;
  statm >> size >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

std::size_t openDescriptors() {
  std::error_code ignored;
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    (void)entry;
    ++count;
  }
  return count;
}
}  // namespace

void collectProcessMetrics(metrics::Registry& registry) {
  registry.gauge("process_resident_memory_bytes", residentBytes());
  registry.gauge("process_cpu_seconds_total", processCpuSeconds());
  registry.gauge("process_open_fds", static_cast<double>(openDescriptors()));
}

}  // namespace aragora::lifecycle
