// Runs something in a thread of its own again and again until destroyed, and once more then unless the last time
// failed. Failures are told and the next round tries again. Minds the switch that its maker minds.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

namespace aragora {

class Periodic {
 public:
  Periodic(std::chrono::milliseconds interval, std::function<void()> work,
           std::function<void(const std::string& reason)> on_failure);
  Periodic(const Periodic&) = delete;
  Periodic& operator=(const Periodic&) = delete;
  ~Periodic();

 private:
  void run();
  bool attempt();
  std::chrono::milliseconds interval_;
  std::function<void()> work_;
  std::function<void(const std::string&)> on_failure_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace aragora
