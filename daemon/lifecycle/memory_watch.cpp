#include "daemon/lifecycle/memory_watch.h"

#include <malloc.h>
#include <pthread.h>

#include <condition_variable>
#include <fstream>
#include <mutex>
#include <optional>

#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::lifecycle {

namespace fs = std::filesystem;

namespace {
constexpr auto kInterval = std::chrono::milliseconds(200);
constexpr double kScarceFrom = 0.90;
constexpr double kEnoughBelow = 0.85;
constexpr std::uint64_t kNoLimit = 1ULL << 60;  // version 1 writes a huge number

// The names of a version of control groups.
struct Names {
  const char* limit;
  const char* used;
  const char* reclaimable;
};
constexpr Names kSecond{"memory.max", "memory.current", "inactive_file"};
constexpr Names kFirst{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};

std::optional<std::uint64_t> numberIn(const fs::path& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;  // "max" is none
}

std::uint64_t statOf(const fs::path& group, std::string_view name) {
  std::ifstream file(group / "memory.stat");
  std::string key;
  std::uint64_t value = 0;
  while (file >> key >> value) {
    if (key == name) return value;
  }
  return 0;
}

// The tightest of a group and those around it, up to where they are mounted.
MemoryUse tightest(const fs::path& mounted, const std::string& group, const Names& names) {
  MemoryUse tightest;
  auto place = mounted / fs::path(group).relative_path();
  while (true) {
    const auto limit = numberIn(place / names.limit);
    const auto used = numberIn(place / names.used);
    if (limit && used && *limit < kNoLimit) {
      const auto reclaimable = statOf(place, names.reclaimable);
      const MemoryUse here{*limit, *used - std::min(*used, reclaimable)};
      if (here.share() > tightest.share() || tightest.limit == 0) tightest = here;
    }
    if (place == mounted || !place.has_relative_path()) return tightest;
    place = place.parent_path();
  }
}
}  // namespace

MemoryUse memoryUse(const MemoryWatchOptions& options) {
  MemoryUse found;
  std::ifstream file(options.membership);
  for (std::string line; std::getline(file, line);) {  // "0::/system.slice/x.service", "4:memory:/x"
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    const auto group = line.substr(second + 1);
    const auto here = controllers.empty()       ? tightest(options.groups, group, kSecond)
                      : controllers == "memory" ? tightest(options.groups / "memory", group, kFirst)
                                                : MemoryUse{};
    if (here.share() > found.share() || found.limit == 0) found = here;
  }
  return found;
}

void MemoryWatch::start() {
  look();
  thread_ = std::jthread([this](const std::stop_token& stop) {
    ::pthread_setname_np(::pthread_self(), "memory");
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
      never.wait_for(lock, stop, kInterval, [] { return false; });
      look();
    }
  });
}

void MemoryWatch::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

void MemoryWatch::look() {
  auto use = memoryUse(options_);
  if (!scarce_ && use.share() >= kScarceFrom) {
    ::malloc_trim(0);  // what was freed and kept is no reason to refuse anybody
    use = memoryUse(options_);
  }
  const bool now = use.share() >= (scarce_ ? kEnoughBelow : kScarceFrom);
  if (now == scarce_) return;
  scarce_ = now;
  const auto share = fmt::format("{:.0f} % of the {} bytes that it may have are used", use.share() * 100, use.limit);
  if (now)
    log::tell(log::Event::MemoryState, log::Level::Warning,
              "memory is scarce: {}; new work is refused (503) until it is below {:.0f} %", share, kEnoughBelow * 100);
  else
    log::tell(log::Event::MemoryState, log::Level::Info, "memory is enough again: {}", share);
}

}  // namespace aragora::lifecycle
