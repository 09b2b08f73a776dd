// A bounded queue served by a fixed number of threads. Full means refused, never waiting. Thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "common/base/interrupt.h"

namespace aragora::edge {

class WorkerPool {
 public:
  WorkerPool(std::size_t threads, std::size_t queue_limit);
  ~WorkerPool() { stop(std::chrono::milliseconds(0)); }
  // False when the queue is full or the pool is stopping. Tasks must not throw.
  bool post(std::function<void()> task);
  std::size_t queued() const;
  // Tasks that were taken from the queue so far: when it does not grow while tasks wait, nobody works.
  std::uint64_t taken() const { return taken_; }
  // Runs what is queued, then ends the threads. What waits longer than `patience` for a database or another host is
  // ended, and what is still queued is not run.
  void stop(std::chrono::milliseconds patience);

 private:
  void run(std::stop_token stop);
  std::function<void()> next(const std::stop_token& stop);
  std::size_t queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable_any arrived_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::size_t at_work_ = 0;
  std::condition_variable ended_;
  interrupt::Switch at_once_;
  std::atomic<std::uint64_t> taken_{0};
  std::vector<std::jthread> threads_;
};

}  // namespace aragora::edge
