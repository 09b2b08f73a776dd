// Signals that a program takes by itself, in a thread of their own, one after the other. What is made later inherits
// that they are blocked: made first of all, by the only thread there is.
#pragma once

#include <signal.h>

#include <atomic>
#include <functional>
#include <initializer_list>
#include <thread>

namespace aragora {

class Signals {
 public:
  Signals(std::initializer_list<int> numbers, std::function<void(int)> on_signal);
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals();

 private:
  sigset_t set_{};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace aragora
