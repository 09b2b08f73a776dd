#include "common/systemd/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>
#include <time.h>

#include <cstdlib>

namespace aragora::systemd {

namespace {
void notify(const std::string& state) { sd_notify(0, state.c_str()); }
}  // namespace

void notifyReady(const std::string& status) { notify(fmt::format("READY=1\nSTATUS={}", status)); }
void notifyStatus(const std::string& status) { notify("STATUS=" + status); }

void notifyReloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000LL + now.tv_nsec / 1000));
}

void notifyStopping() { notify("STOPPING=1\nSTATUS=draining"); }
void extendStop(std::int64_t microseconds) { notify(fmt::format("EXTEND_TIMEOUT_USEC={}", microseconds)); }

std::chrono::microseconds watchdogSpan() {
  std::uint64_t interval = 0;
  return std::chrono::microseconds(sd_watchdog_enabled(0, &interval) > 0 ? interval : 0);
}

void notifyWatchdog() { notify("WATCHDOG=1"); }

std::string ownUnit() {
  char* unit = nullptr;
  if (std::getenv("INVOCATION_ID") == nullptr || sd_pid_get_unit(0, &unit) < 0) return {};
  std::string name(unit);
  std::free(unit);
  return name;
}

namespace {
std::vector<InheritedSocket> takeInherited() {
  std::vector<InheritedSocket> sockets;
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(1, &names);
  for (int i = 0; i < count; ++i) {
    const int fd = SD_LISTEN_FDS_START + i;
    if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0)
      sockets.push_back({fd, sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0, names[i]});
    std::free(names[i]);
  }
  std::free(names);
  return sockets;
}
}  // namespace

const std::vector<InheritedSocket>& inheritedSockets() {
  static const auto kSockets = takeInherited();
  return kSockets;
}

}  // namespace aragora::systemd
