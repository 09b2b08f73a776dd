// A value that is replaced as a whole while others read it: readers keep what they took. Thread-safe.
#pragma once

#include <memory>
#include <mutex>

namespace aragora {

template <typename Value>
class Reloadable {
 public:
  explicit Reloadable(Value value) : value_(std::make_shared<const Value>(std::move(value))) {}

  std::shared_ptr<const Value> get() const {  // shared with readers that took an earlier one
    const std::lock_guard lock(mutex_);
    return value_;
  }
  void set(Value value) {
    auto fresh = std::make_shared<const Value>(std::move(value));
    const std::lock_guard lock(mutex_);
    value_ = std::move(fresh);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Value> value_;
};

}  // namespace aragora
