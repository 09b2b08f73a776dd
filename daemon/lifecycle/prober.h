// Looks at the backends twice a second in a thread of its own and keeps what it saw, so that health and readiness
// answer at once and never pile load on a database in trouble. latest() is lock-free for readers' purposes and any
// thread's.
#pragma once

#include <functional>
#include <mutex>
#include <thread>

#include "common/base/interrupt.h"
#include "common/database/database.h"
#include "daemon/lifecycle/probe.h"

namespace aragora::lifecycle {

struct ProberOptions {
  std::function<RedisState()> redis = [] { return RedisState::NotConfigured; };  // never waits
  bool redis_required = false;
  config::AgentsState agents = config::AgentsState::None;  // by configuration; calls are judged by their own results
};

class Prober {
 public:
  // `after_probe` runs in the prober's thread after each look: status line, watchdog.
  Prober(ProberOptions options, database::Database& database, std::function<void(const Probe&)> after_probe);
  ~Prober() { stop(); }
  void start();  // the first look has been made when it returns
  void stop();
  std::shared_ptr<const Probe> latest() const;  // shared with the requests that render it
  void setDraining() { draining_ = true; }
  bool draining() const { return draining_; }
  double uptimeSeconds() const;

 private:
  void look();
  bool stillFull();
  ProberOptions options_;
  database::Database& database_;
  std::function<void(const Probe&)> after_probe_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  std::shared_ptr<const Probe> latest_ = std::make_shared<Probe>();
  std::atomic<bool> draining_{false};
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::lifecycle
