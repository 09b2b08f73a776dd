#include "daemon/lifecycle/process_metrics.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <sstream>

#include "common/base/text.h"
#include "daemon/lifecycle/memory_watch.h"

namespace aragora::lifecycle {

namespace fs = std::filesystem;

namespace {
double processCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::size_t openDescriptors(const fs::path& self) {
  std::error_code ignored;
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(self / "fd", ignored)) {
    (void)entry;
    ++count;
  }
  return count;
}

// Files of lines "Name: 123 kB"; nothing where there is no such file or line.
std::optional<double> numberAfter(const fs::path& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!startsWith(line, name) || line.size() <= name.size() || line[name.size()] != ':') continue;
    std::istringstream rest(line.substr(name.size() + 1));
    double value = 0;
    return rest >> value ? std::optional(value) : std::nullopt;
  }
  return std::nullopt;
}

void collectProcess(metrics::Registry& registry, const fs::path& self) {
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  std::ifstream statm(self / "statm");
  double size = 0;
  double resident = 0;
  if (statm >> size >> resident) {
    registry.gauge("process_virtual_memory_bytes", size * page);
    registry.gauge("process_resident_memory_bytes", resident * page);
  }
  registry.countTo("process_cpu_seconds_total", processCpuSeconds());
  registry.gauge("process_open_fds", static_cast<double>(openDescriptors(self)));
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) registry.gauge("process_max_fds", static_cast<double>(files.rlim_cur));
  if (const auto threads = numberAfter(self / "status", "Threads")) registry.gauge("process_threads", *threads);
  if (const auto bytes = numberAfter(self / "io", "read_bytes"))
    registry.countTo("aragora_process_disk_read_bytes_total", *bytes);
  if (const auto bytes = numberAfter(self / "io", "write_bytes"))
    registry.countTo("aragora_process_disk_written_bytes_total", *bytes);
}

void collectMemory(metrics::Registry& registry, const fs::path& proc) {
  struct sysinfo host {};
  if (::sysinfo(&host) == 0) {  // a system call: there with every view of /proc
    const auto unit = static_cast<double>(host.mem_unit);
    registry.gauge("aragora_host_memory_size_bytes", static_cast<double>(host.totalram) * unit);
    registry.gauge("aragora_host_memory_free_bytes", static_cast<double>(host.freeram) * unit);
    registry.gauge("aragora_host_load1", static_cast<double>(host.loads[0]) / (1 << SI_LOAD_SHIFT));
  }
  if (const auto available = numberAfter(proc / "meminfo", "MemAvailable"))
    registry.gauge("aragora_host_memory_available_bytes", *available * 1024);
  const auto group = memoryUse({});
  if (group.limit > 0) {
    registry.gauge("aragora_memory_limit_bytes", static_cast<double>(group.limit));
    registry.gauge("aragora_memory_used_bytes", static_cast<double>(group.used));
  }
}

// proc(5): hundredths of a second, of all processors together.
void collectProcessors(metrics::Registry& registry, const fs::path& proc) {
  registry.gauge("aragora_host_cpus", static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN)));
  std::ifstream file(proc / "stat");
  std::string name;
  if (!(file >> name) || name != "cpu") return;
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  for (const auto* mode : {"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}) {
    double value = 0;
    if (!(file >> value)) return;
    registry.countTo("aragora_host_cpu_seconds_total", value / ticks, {{"mode", mode}});
  }
}

// Of this network namespace. Lines "  eth0: 1 2 3 4 5 6 7 8 9 …": the first number was received, the ninth sent.
void collectNetwork(metrics::Registry& registry, const fs::path& self) {
  std::ifstream file(self / "net/dev");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const metrics::Labels labels{{"device", std::string(trim(line.substr(0, colon)))}};
    std::istringstream rest(line.substr(colon + 1));
    double received = 0;
    double sent = 0;
    rest >> received;
    for (int column = 0; column < 8; ++column) rest >> sent;
    if (!rest) continue;
    registry.countTo("aragora_host_network_receive_bytes_total", received, labels);
    registry.countTo("aragora_host_network_transmit_bytes_total", sent, labels);
  }
}

void collectFileSystems(metrics::Registry& registry, const HostView& host) {
  for (const auto& [name, path] : host.places) {
    struct statvfs found {};
    if (::statvfs(path.c_str(), &found) != 0) continue;
    const auto block = static_cast<double>(found.f_frsize);
    registry.gauge("aragora_host_filesystem_size_bytes", static_cast<double>(found.f_blocks) * block,
                   {{"place", name}});
    registry.gauge("aragora_host_filesystem_free_bytes", static_cast<double>(found.f_bavail) * block,
                   {{"place", name}});
  }
}
}  // namespace

void collectProcessMetrics(metrics::Registry& registry, const HostView& host) {
  registry.forgetGauges("aragora_host_");
  registry.forgetGauges("aragora_memory_limit");
  registry.forgetGauges("aragora_memory_used");
  collectProcess(registry, host.proc / "self");
  collectMemory(registry, host.proc);
  collectProcessors(registry, host.proc);
  collectNetwork(registry, host.proc / "self");
  collectFileSystems(registry, host);
}

}  // namespace aragora::lifecycle
