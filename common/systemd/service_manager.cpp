#include "common/systemd/service_manager.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>

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

bool watchdogEnabled() {
  std::uint64_t interval = 0;
  return sd_watchdog_enabled(0, &interval) > 0;
}

void notifyWatchdog() { notify("WATCHDOG=1"); }

std::vector<InheritedSocket> inheritedSockets() {
  std::vector<InheritedSocket> sockets;
  const int count = sd_listen_fds(1);
  for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; ++fd) {
    if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0)
      sockets.push_back({fd, sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0});
  }
  return sockets;
}

}  // namespace aragora::systemd
