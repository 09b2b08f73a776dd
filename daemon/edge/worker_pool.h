// A bounded queue served by a fixed number of threads. Who is served under load is decided by age: what has waited for
// longer than the patience is turned away, so that those who come now are not answered when they have left. The bound
// on the length is there for memory's sake. Full means refused, never waiting. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "common/base/interrupt.h"

namespace aragora::edge {

enum class Turn { InTime, TooLate };

class WorkerPool {
 public:
  // Told whether it comes in time: too late, it has only to say so, and at once; that may be in the thread of a post()
  // or of turnAwayLate().
  using Task = std::function<void(Turn)>;
  WorkerPool(std::size_t threads, std::size_t queue_limit,
             std::chrono::milliseconds patience = std::chrono::seconds(1));
  ~WorkerPool() { stop(std::chrono::milliseconds(0)); }
  // False when the queue is full or the pool is stopping. Tasks must not throw.
  bool post(Task task);
  // Those that have waited for too long while no thread was free.
  void turnAwayLate();
  bool someThreadIsFree() const { return busy_ < threads_.size(); }
  std::uint64_t takeTurnedAway() { return turned_away_.exchange(0); }  // since the last time
  std::size_t queued() const;
  std::size_t threads() const { return threads_.size(); }
  std::size_t busy() const { return busy_; }
  // Tasks that were taken from the queue so far: when it does not grow while tasks wait, nobody works.
  std::uint64_t taken() const { return taken_; }
  // How long the one task has been going on that was begun before all others.
  std::chrono::milliseconds longest() const;
  // Runs what is queued, then ends the threads. What waits longer than `patience` for a database or another host is
  // ended, and what is still queued is told that it is too late.
  void stop(std::chrono::milliseconds patience);

 private:
  struct Waiting {
    Task task;
    std::chrono::steady_clock::time_point since;
  };
  using Clock = std::chrono::steady_clock;
  void run(std::stop_token stop, std::atomic<Clock::rep>& begun);
  std::optional<Waiting> next(const std::stop_token& stop);
  std::vector<Waiting> takeLate();
  bool late(const Waiting& waiting) const { return std::chrono::steady_clock::now() - waiting.since > patience_; }
  void turnAway(const std::vector<Waiting>& late);
  std::size_t queue_limit_;
  std::chrono::milliseconds patience_;
  mutable std::mutex mutex_;
  std::condition_variable_any arrived_;
  std::deque<Waiting> queue_;
  bool stopping_ = false;
  std::size_t at_work_ = 0;
  std::condition_variable ended_;
  interrupt::Switch at_once_;
  std::atomic<std::uint64_t> taken_{0};
  std::atomic<std::uint64_t> turned_away_{0};
  std::atomic<std::size_t> busy_{0};
  std::vector<std::atomic<Clock::rep>> begun_;  // one a thread; 0: it is free
  std::vector<std::jthread> threads_;
};

}  // namespace aragora::edge
