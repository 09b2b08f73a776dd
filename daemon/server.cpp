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
#include "common/base/redact.h"
#include "common/base/signals.h"
#include "common/deployment/control_socket.h"
#include "common/deployment/deployment.h"
#include "daemon/assembly.h"
#include "daemon/control.h"

namespace aragora::daemon {

namespace {
// What is to be done next: a signal, or what somebody asked for over the control socket.
struct Errand {
  int signal = 0;
  std::string actor{};
  std::promise<json::object> answer{};
};

// Errands that came and were not done yet.
class Inbox {
 public:
  void put(Errand errand) {
    {
      const std::lock_guard lock(mutex_);
      errands_.push_back(std::move(errand));
    }
    arrived_.notify_one();
  }
  Errand take() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [this] { return !errands_.empty(); });
    auto errand = std::move(errands_.front());
    errands_.pop_front();
    return errand;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Errand> errands_;
};

json::object asJson(const Reloaded& reloaded) {
  const auto list = [](const std::vector<std::string>& texts) {
    json::array array;
    for (const auto& text : texts) array.push_back(json::string(redact(text)));
    return array;
  };
  json::object result{{"reloaded", !reloaded.refused},
                      {"applied", list(reloaded.applied)},
                      {"after_restart", list(reloaded.after_restart)},
                      {"as_at_start", list(reloaded.as_at_start)},
                      {"warnings", list(reloaded.warnings)}};
  if (reloaded.refused)
    result["error"] = json::object{{"code", info(reloaded.refused->code()).name},
                                   {"message", redact(reloaded.refused->what())},
                                   {"hint", redact(reloaded.refused->hint())},
                                   {"details", reloaded.refused->details()}};
  return result;
}

// Nobody needs it but our own commands: a daemon that cannot have one serves all the same.
std::unique_ptr<Control> makeControl(const config::Config& config, Inbox& inbox, const Assembly& assembly) {
  const auto reload = [&inbox](const std::string& actor) {
    Errand errand{SIGHUP, actor};
    auto promised = errand.answer.get_future();
    inbox.put(std::move(errand));
    return promised;
  };
  try {
    return std::make_unique<Control>(deployment::controlSocket(config), reload, [&assembly] {
      return json::object{{"breakers", assembly.breakers()}};
    });
  } catch (const Error& error) {
    interrupt::check();
    log::info("there is no control socket, a reload is asked for by SIGHUP: {}", error.what());
    return nullptr;
  }
}

bool stops(int signal) { return signal == SIGTERM || signal == SIGINT; }

void raiseOpenFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

struct Running {
  std::unique_ptr<Assembly> assembly;
  std::unique_ptr<Control> control;  // may be absent
};

Running started(const std::function<config::Loaded()>& load, Inbox& inbox) {
  auto loaded = load();
  configureLog(loaded.config);
  if (loaded.problems.empty()) {
    for (const auto& path : deployment::ensureGeneratedSecrets(loaded.config))
      log::info("generated {} (mode 0600)", path.string());
  } else {
    deployment::loadGeneratedSecrets(loaded.config);  // what is there is not to be called missing
  }
  requireStartable(loaded);
  const auto config = loaded.config;
  Running running{std::make_unique<Assembly>(std::move(loaded)), nullptr};
  running.control = makeControl(config, inbox, *running.assembly);  // who is told that we are ready may ask at once
  running.assembly->start();
  return running;
}
}  // namespace

int serve(const std::function<config::Loaded()>& load) {
  const interrupt::Switch stopping;  // ends a start or a reload that waits for something
  Inbox inbox;
  const Signals signals({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}, [&](int signal) {
    if (stops(signal)) stopping.turn();
    inbox.put({signal, fmt::format("signal:{}", signal == SIGHUP ? "SIGHUP" : std::to_string(signal))});
  });
  log::Service logging;
  // Thousands of short-lived threads must not each get an arena.
  ::mallopt(M_ARENA_MAX, 4);
  raiseOpenFileLimit();
  Running running;
  try {
    const interrupt::Minding minding(stopping);
    running = started(load, inbox);
  } catch (const Error&) {
    if (!stopping.turned()) throw;
    log::info("stopped before it had started");
    return 0;
  }
  while (true) {
    auto errand = inbox.take();
    if (stops(errand.signal)) {
      log::tell(log::Event::Stopping, log::Level::Info, "stopping on signal {}", errand.signal);
      logging.leaveJournal();
      running.control.reset();
      running.assembly->stop();
      return 0;
    }
    const interrupt::Minding minding(stopping);
    if (errand.signal == SIGHUP)
      errand.answer.set_value(asJson(running.assembly->reload(load, errand.actor)));
    else
      log::info("signal {} means nothing here; SIGHUP reloads, SIGTERM stops", errand.signal);
  }
}

}  // namespace aragora::daemon
