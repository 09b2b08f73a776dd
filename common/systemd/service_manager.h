// The service manager's side: readiness, status, watchdog and inherited sockets (sd_notify(3), sd_listen_fds(3)).
// Everything is a no-op when not started by systemd.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace aragora::systemd {

void notifyReady(const std::string& status);
void notifyStatus(const std::string& status);
void notifyReloading();
void notifyStopping();
void extendStop(std::int64_t microseconds);
// WatchdogSec=; 0: it is not set. Then notifyWatchdog() must come in time, from a thread that proves progress.
std::chrono::microseconds watchdogSpan();
void notifyWatchdog();
// The unit that this process was started for, such as aragora-backup.service; empty when systemd started none.
std::string ownUnit();
// Listening sockets handed over by a socket unit.
struct InheritedSocket {
  int descriptor = -1;
  bool local = false;  // AF_UNIX
  std::string name;    // FileDescriptorName= of its unit, or the unit's
};
// The same answer each time: who asks takes them out of the environment, so that no child thinks they are its own.
const std::vector<InheritedSocket>& inheritedSockets();

}  // namespace aragora::systemd
