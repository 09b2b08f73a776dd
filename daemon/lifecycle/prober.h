// Looks at the backends once a second in a thread of its own and keeps what it saw, so that health and readiness answer
// at once and never pile load on a database in trouble. latest() is lock-free for readers' purposes and any thread's.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "common/config/config.h"
#include "common/database/database.h"

namespace aragora::lifecycle {

struct Probe {
  std::string database = "unknown";  // connected, read_only, full, unreachable
  std::string read_only;             // why, when it is
  std::string redis = "not_configured";
  std::string agents = "unknown";  // config::agentsState
  bool redis_required = false;
  double database_ms = 0;
  bool healthy() const {
    return database == "connected" && (!redis_required || redis == "connected") && agents != "none";
  }
};

class Prober {
 public:
  // `after_probe` runs in the prober's thread after each look: status line, watchdog.
  Prober(const config::Config& config, database::Database& database, std::function<void(const Probe&)> after_probe);
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
  const config::Config& config_;
  database::Database& database_;
  std::function<void(const Probe&)> after_probe_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  std::condition_variable stopped_;
  std::shared_ptr<const Probe> latest_ = std::make_shared<Probe>();
  std::atomic<bool> draining_{false};
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace aragora::lifecycle
