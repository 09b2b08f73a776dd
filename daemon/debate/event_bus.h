// Carries events that are durable to whoever shows them. Delivery may be lossy: subscribers find gaps by sequence
// number and read them from the store. publish() may be called from any thread and must not wait for a subscriber.
#pragma once

#include <functional>
#include <vector>

#include "common/store/debates.h"

namespace aragora::debate {

class EventBus {
 public:
  using Subscriber = std::function<void(const store::Event&)>;
  virtual ~EventBus() = default;
  virtual void publish(const store::Event& event) = 0;
  // Before anything is published.
  virtual void subscribe(Subscriber subscriber) = 0;
};

// Within this process.
class LocalBus : public EventBus {
 public:
  void publish(const store::Event& event) override {
    for (const auto& subscriber : subscribers_) subscriber(event);
  }
  void subscribe(Subscriber subscriber) override { subscribers_.push_back(std::move(subscriber)); }

 private:
  std::vector<Subscriber> subscribers_;
};

}  // namespace aragora::debate
