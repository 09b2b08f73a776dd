// Whether all that has to move does: the watchdog of systemd hears from the daemon only then. One thread, the
// prober's.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "daemon/debate/engine.h"
#include "daemon/edge/io_threads.h"
#include "daemon/edge/worker_pool.h"

namespace aragora::daemon {

class ProgressWatch {
 public:
  ProgressWatch(edge::IoThreads& io, edge::WorkerPool& workers, debate::Engine& engine)
      : io_(io), workers_(workers), engine_(engine) {}
  // Tells the watchdog, or the log who stands still, once. Nothing where no watchdog listens.
  void look();

 private:
  std::string whoStandsStill(std::chrono::microseconds longest_task);
  bool workersProgress();

  edge::IoThreads& io_;
  edge::WorkerPool& workers_;
  debate::Engine& engine_;
  std::string told_;
  std::uint64_t taken_ = 0;
  std::chrono::steady_clock::time_point moved_{};
};

}  // namespace aragora::daemon
