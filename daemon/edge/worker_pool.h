// A bounded queue served by a fixed number of threads. Full means refused, never waiting.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace aragora::edge {

class WorkerPool {
 public:
  WorkerPool(std::size_t threads, std::size_t queue_limit);
  ~WorkerPool() { stop(); }
  // False when the queue is full or the pool is stopping. Tasks must not throw.
  bool post(std::function<void()> task);
  std::size_t queued() const;
  // Runs what is queued, then ends the threads.
  void stop();

 private:
  void run();
  std::size_t queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace aragora::edge
