// How a running debate is told to stop from outside. Thread-safe.
#pragma once

#include <atomic>
#include <stop_token>

namespace aragora::debate {

class Control {
 public:
  // Leave it as it is: the daemon stops, or another instance has it. Comes before a cancellation.
  void handBack() {
    handed_back_ = true;
    source_.request_stop();
  }
  // End it as cancelled.
  void cancel() {
    cancelled_ = true;
    source_.request_stop();
  }
  // Let it rest: recorded at its next step. A cancellation comes before it.
  void pause() {
    paused_ = true;
    source_.request_stop();
  }
  bool handedBack() const { return handed_back_; }
  bool cancelled() const { return cancelled_; }
  bool paused() const { return paused_; }
  // Any of them.
  std::stop_token token() const { return source_.get_token(); }

 private:
  std::atomic<bool> handed_back_{false};
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> paused_{false};
  std::stop_source source_;
};

}  // namespace aragora::debate
