#include "daemon/server.h"

#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>

#include <csignal>

#include "common/base/log.h"
#include "common/deployment/deployment.h"
#include "daemon/assembly.h"

namespace aragora::daemon {

namespace {
// Blocked before any thread starts, so that only waitForSignal() sees them.
sigset_t blockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return set;
}

void raiseOpenFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}
}  // namespace

int serve(const std::function<config::Loaded()>& load) {
  const auto signals = blockSignals();
  // Thousands of short-lived threads must not each get an arena.
  ::mallopt(M_ARENA_MAX, 4);
  raiseOpenFileLimit();
  auto loaded = load();
  configureLog(loaded.config);
  if (loaded.problems.empty()) {
    for (const auto& path : deployment::ensureGeneratedSecrets(loaded.config))
      log::info("generated {} (mode 0600)", path.string());
  }
  requireStartable(loaded);
  Assembly assembly(std::move(loaded));
  assembly.start();
  while (true) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    if (signal == SIGHUP) {
      assembly.reload(load);
      continue;
    }
    if (signal == SIGUSR1 || signal == SIGUSR2) {
      log::info("signal {} means nothing here; SIGHUP reloads, SIGTERM stops", signal);
      continue;
    }
    log::info("stopping on signal {}", signal);
    assembly.stop();
    return 0;
  }
}

}  // namespace aragora::daemon
