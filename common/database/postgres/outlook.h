// What the connections of a pool know together of their servers: which one of a list answered last, whether anything
// was heard of late, whether it counts as away, and how far the database's history has gone. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>

namespace aragora::database::postgres {

class Outlook {
 public:
  using Clock = std::chrono::steady_clock;

  // Whoever waits for a server that is away gives up, but those who look whether it is back.
  void setAway(bool away) { away_ = away; }
  bool away() const { return away_; }

  void heard() { heard_ = Clock::now().time_since_epoch().count(); }
  Clock::time_point lastHeard() const { return Clock::time_point(Clock::duration(heard_)); }

  // "host:port" of the one that is tried first, empty at the beginning.
  void setServer(const std::string& server) {
    const std::lock_guard lock(mutex_);
    server_ = server;
  }
  std::string server() const {
    const std::lock_guard lock(mutex_);
    return server_;
  }

  // Whether a server with this history may be written to: not one that was left behind when another took over, and
  // came back. Minds the longest.
  bool minds(const std::string& system, unsigned long timeline) {
    const std::lock_guard lock(mutex_);
    auto& longest = timelines_[system];
    if (timeline < longest) return false;
    longest = timeline;
    return true;
  }

 private:
  std::atomic<bool> away_{false};
  std::atomic<Clock::rep> heard_{0};
  mutable std::mutex mutex_;
  std::string server_;
  std::map<std::string, unsigned long> timelines_;  // by system identifier
};

}  // namespace aragora::database::postgres
