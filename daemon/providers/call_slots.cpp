#include "daemon/providers/call_slots.h"

#include <algorithm>

namespace aragora::providers {

namespace {
constexpr std::chrono::milliseconds kLook{250};
}

std::optional<CallSlots::Slot> CallSlots::take(const std::stop_token& stop, Deadline deadline,
                                               const std::function<bool()>& in_vain) {
  std::unique_lock lock(mutex_);
  if (taken_ < most_) {
    ++taken_;
    return Slot(*this);
  }
  Waiter self;
  const auto place = waiting_.insert(waiting_.end(), &self);
  while (!self.called.wait_until(lock, stop, std::min(deadline, deadlineIn(kLook)), [&] { return self.served; })) {
    if (stop.stop_requested() || remaining(deadline).count() == 0 || (in_vain && in_vain())) break;
  }
  if (self.served) return Slot(*this);  // also one that was stopped in that moment: its caller gives it back
  waiting_.erase(place);
  return std::nullopt;
}

// From hand to hand: whoever comes in between does not overtake those who wait.
void CallSlots::giveBack() {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) {
    --taken_;
    return;
  }
  auto* const next = waiting_.front();
  waiting_.pop_front();
  next->served = true;
  next->called.notify_one();  // under the lock: it is gone once it has seen that it was served
}

CallSlots::Numbers CallSlots::numbers() const {
  const std::lock_guard lock(mutex_);
  return {taken_, waiting_.size()};
}

}  // namespace aragora::providers
