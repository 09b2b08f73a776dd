#include "common/base/periodic.h"

#include "common/base/clock.h"

namespace aragora {

Periodic::Periodic(std::chrono::milliseconds interval, std::function<void()> work,
                   std::function<void(const std::string& reason)> on_failure,
                   std::optional<std::chrono::milliseconds> patience)
    : interval_(interval),
      work_(std::move(work)),
      on_failure_(std::move(on_failure)),
      patience_(patience),
      when_the_makers_is_turned_(interrupt::token(), [at_once = at_once_] { at_once.turn(); }),
      thread_([this] {
        const interrupt::Minding minding(at_once_);
        run();
        const std::lock_guard lock(mutex_);
        ended_ = true;
        changed_.notify_all();
      }) {}

Periodic::~Periodic() {
  stopping_.turn();
  if (patience_) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, *patience_, [this] { return ended_; })) at_once_.turn();
  }
  thread_.join();
}

void Periodic::run() {
  while (true) {
    const bool last = stopping_.turned();
    const auto next = deadlineIn(interval_);
    const bool done = attempt();
    if (last) return;
    if (stopping_.waitFor(remaining(next)) && !done) return;
  }
}

bool Periodic::attempt() {
  try {
    work_();
    return true;
  } catch (const std::exception& error) {  // the thread's boundary
    if (!at_once_.turned()) on_failure_(error.what());
    return false;
  }
}

}  // namespace aragora
