// Runs something in a thread of its own again and again until destroyed, and once more then unless the last time
// failed; whoever destroys it waits for that, at most for `patience`. Failures are told and the next round tries again.
// Minds the switch that its maker minds.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "common/base/interrupt.h"

namespace aragora {

class Periodic {
 public:
  Periodic(std::chrono::milliseconds interval, std::function<void()> work,
           std::function<void(const std::string& reason)> on_failure,
           std::optional<std::chrono::milliseconds> patience = {});
  Periodic(const Periodic&) = delete;
  Periodic& operator=(const Periodic&) = delete;
  ~Periodic();

 private:
  void run();
  bool attempt();
  std::chrono::milliseconds interval_;
  std::function<void()> work_;
  std::function<void(const std::string&)> on_failure_;
  std::optional<std::chrono::milliseconds> patience_;
  const interrupt::Switch stopping_;
  const interrupt::Switch at_once_;  // minded by the thread
  std::stop_callback<std::function<void()>> when_the_makers_is_turned_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace aragora
