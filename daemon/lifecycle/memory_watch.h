// Whether the memory that this process may use (MemoryMax= of its unit, a container's limit: its control group's,
// version 2 or 1, or the tightest of those around it) is nearly used up, so that work is refused before the kernel
// kills. Looks five times a second in a thread of its own; scarce() is any thread's.
#pragma once

#include <atomic>
#include <filesystem>
#include <thread>

namespace aragora::lifecycle {

struct MemoryWatchOptions {
  std::filesystem::path groups = "/sys/fs/cgroup";
  std::filesystem::path membership = "/proc/self/cgroup";
};

struct MemoryUse {
  std::uint64_t limit = 0;  // bytes; 0: there is none
  std::uint64_t used = 0;   // without what the kernel gives back by itself
  double share() const { return limit == 0 ? 0 : static_cast<double>(used) / static_cast<double>(limit); }
};
MemoryUse memoryUse(const MemoryWatchOptions& options);

class MemoryWatch {
 public:
  explicit MemoryWatch(MemoryWatchOptions options = {}) : options_(std::move(options)) {}
  void start();
  void stop();
  // What callers are told by: true from 90 % on until it is below 85 % again.
  const std::atomic<bool>& scarce() const { return scarce_; }

 private:
  void look();
  MemoryWatchOptions options_;
  std::atomic<bool> scarce_{false};
  std::jthread thread_;
};

}  // namespace aragora::lifecycle
