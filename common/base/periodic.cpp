#include "common/base/periodic.h"

#include "common/base/clock.h"
#include "common/base/interrupt.h"

namespace aragora {

Periodic::Periodic(std::chrono::milliseconds interval, std::function<void()> work,
                   std::function<void(const std::string& reason)> on_failure)
    : interval_(interval),
      work_(std::move(work)),
      on_failure_(std::move(on_failure)),
      thread_([this, stop = interrupt::minded()] {
        const interrupt::Minding minding(stop);
        run();
      }) {}

Periodic::~Periodic() {
  stopping_ = true;
  thread_.join();
}

void Periodic::run() {
  while (true) {
    const bool last = stopping_;
    const auto next = deadlineIn(interval_);
    const bool done = attempt();
    if (last) return;
    while (!stopping_ && remaining(next).count() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (stopping_ && !done) return;
  }
}

bool Periodic::attempt() {
  try {
    work_();
    return true;
  } catch (const std::exception& error) {  // the thread's boundary
    on_failure_(error.what());
    return false;
  }
}

}  // namespace aragora
