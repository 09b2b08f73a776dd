#include "daemon/server.h"

#include <malloc.h>
#include <sys/resource.h>

#include <condition_variable>
#include <csignal>
#include <deque>
#include <memory>
#include <mutex>

#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"
#include "common/base/signals.h"
#include "common/deployment/deployment.h"
#include "daemon/assembly.h"

namespace aragora::daemon {

namespace {
// Signals that came and were not dealt with yet.
class Inbox {
 public:
  void put(int signal) {
    {
      const std::lock_guard lock(mutex_);
      signals_.push_back(signal);
    }
    arrived_.notify_one();
  }
  int take() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return !signals_.empty(); });
    const int signal = signals_.front();
    signals_.pop_front();
    return signal;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<int> signals_;
};

bool stops(int signal) { return signal == SIGTERM || signal == SIGINT; }

void raiseOpenFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}
std::unique_ptr<Assembly> started(const std::function<config::Loaded()>& load) {
  auto loaded = load();
  configureLog(loaded.config);
  if (loaded.problems.empty()) {
    for (const auto& path : deployment::ensureGeneratedSecrets(loaded.config))
      log::info("generated {} (mode 0600)", path.string());
  } else {
    deployment::loadGeneratedSecrets(loaded.config);  // what is there is not to be called missing
  }
  requireStartable(loaded);
  auto assembly = std::make_unique<Assembly>(std::move(loaded));
  assembly->start();
  return assembly;
}
}  // namespace

int serve(const std::function<config::Loaded()>& load) {
  const interrupt::Switch stopping;  // ends a start or a reload that waits for something
  Inbox inbox;
  const Signals signals({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}, [&](int signal) {
    if (stops(signal)) stopping.turn();
    inbox.put(signal);
  });
  // Thousands of short-lived threads must not each get an arena.
  ::mallopt(M_ARENA_MAX, 4);
  raiseOpenFileLimit();
  std::unique_ptr<Assembly> assembly;
  try {
    const interrupt::Minding minding(stopping);
    assembly = started(load);
  } catch (const Error&) {
    if (!stopping.turned()) throw;
    log::info("stopped before it had started");
    return 0;
  }
  while (true) {
    const int signal = inbox.take();
    if (stops(signal)) {
      log::info("stopping on signal {}", signal);
      assembly->stop();
      return 0;
    }
    const interrupt::Minding minding(stopping);
    if (signal == SIGHUP)
      assembly->reload(load);
    else
      log::info("signal {} means nothing here; SIGHUP reloads, SIGTERM stops", signal);
  }
}

}  // namespace aragora::daemon
