#include "daemon/progress_watch.h"

#include "common/base/log.h"
#include "common/systemd/service_manager.h"

namespace aragora::daemon {

namespace {
constexpr auto kPatience = std::chrono::seconds(5);
// The scheduler asks the database, whose deadlines are up to twelve seconds a question.
constexpr auto kSchedulerPatience = std::chrono::seconds(30);
// Twenty minutes (WatchdogSec=30): a statement may be given ten, and a long audit log is walked in one task.
constexpr int kSpansOfATask = 40;
}  // namespace

void ProgressWatch::look() {
  const auto span = systemd::watchdogSpan();
  if (span.count() == 0) return;
  auto still = whoStandsStill(span * kSpansOfATask);
  if (still.empty())
    systemd::notifyWatchdog();
  else if (still != told_)
    log::error("no progress, the watchdog is not told of any: {}", still);
  told_ = std::move(still);
}

std::string ProgressWatch::whoStandsStill(std::chrono::microseconds longest_task) {
  if (!io_.responsive(kPatience)) return "a thread that reads and writes sockets";
  if (!workersProgress()) return "every worker";
  if (workers_.longest() >= longest_task) return "a worker";
  if (engine_.silence() >= kSchedulerPatience)
    return engine_.renewerSilence() >= kSchedulerPatience ? "who renews leases" : "the scheduler of debates";
  return {};
}

// All of them at something for too long.
bool ProgressWatch::workersProgress() {
  const auto now = std::chrono::steady_clock::now();
  const auto taken = workers_.taken();
  if (taken != taken_ || workers_.someThreadIsFree()) {
    taken_ = taken;
    moved_ = now;
  }
  return now - moved_ < kPatience;
}

}  // namespace aragora::daemon
