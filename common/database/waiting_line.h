// Who waits for one of a bounded number of things, in the order in which they came. Without an order whoever gives one
// back and wants one again takes it before any of those that waited have woken up, and some of them wait for ever. Only
// the first is woken, so that a thing that comes back costs one switch of threads however many wait. Everything is
// called under the mutex of who owns the things.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <stop_token>

#include "common/base/clock.h"

namespace aragora::database {

class WaitingLine {
 public:
  // One who waits, for as long as it lives.
  class Place {
   public:
    explicit Place(WaitingLine& line) : line_(line) { line_.places_.push_back(this); }
    ~Place() {
      std::erase(line_.places_, this);
      line_.wakeFirst();
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    bool first() const { return line_.places_.front() == this; }
    // Until `ready`, which is asked whenever this one is woken, or `until`, or a stop.
    template <typename Ready>
    void wait(std::unique_lock<std::mutex>& lock, const std::stop_token& stop, Deadline until, Ready ready) {
      woken_.wait_until(lock, stop, until, std::move(ready));
    }

   private:
    friend class WaitingLine;
    WaitingLine& line_;
    std::condition_variable_any woken_;
  };

  void wakeFirst() {
    if (!places_.empty()) places_.front()->woken_.notify_one();
  }
  void wakeAll() {
    for (auto* place : places_) place->woken_.notify_one();
  }
  std::size_t size() const { return places_.size(); }

 private:
  std::deque<Place*> places_;
};

}  // namespace aragora::database
