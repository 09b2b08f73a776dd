// At most so many tries open at one provider at once, from this instance: what vendors limit, and what a small server
// of one's own can bear. Who comes first is served first. Any thread.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "common/base/clock.h"

namespace aragora::providers {

class CallSlots {
 public:
  // Gives itself back.
  class Slot {
   public:
    Slot(Slot&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    Slot& operator=(Slot&&) = delete;
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    ~Slot() {
      if (of_ != nullptr) of_->giveBack();
    }

   private:
    friend class CallSlots;
    explicit Slot(CallSlots& of) : of_(&of) {}
    CallSlots* of_;
  };
  struct Numbers {
    std::size_t taken = 0;
    std::size_t waiting = 0;
  };

  explicit CallSlots(std::size_t most) : most_(most) {}
  // Waits for one; nullopt when it was stopped, the deadline was over, or it was `in_vain` before. That is asked for a
  // few times a second while it waits.
  std::optional<Slot> take(const std::stop_token& stop, Deadline deadline,
                           const std::function<bool()>& in_vain = nullptr);
  Numbers numbers() const;

 private:
  struct Waiter {
    std::condition_variable_any called;
    bool served = false;
  };
  void giveBack();

  mutable std::mutex mutex_;
  const std::size_t most_;
  std::size_t taken_ = 0;
  std::list<Waiter*> waiting_;
};

}  // namespace aragora::providers
