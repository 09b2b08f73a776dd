#include "daemon/edge/worker_pool.h"

#include <pthread.h>

namespace aragora::edge {

WorkerPool::WorkerPool(std::size_t threads, std::size_t queue_limit) : queue_limit_(queue_limit), at_work_(threads) {
  for (std::size_t i = 0; i < threads; ++i)
    threads_.emplace_back([this](std::stop_token stop) { run(std::move(stop)); });
}

bool WorkerPool::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || queue_.size() >= queue_limit_) return false;
    queue_.push_back(std::move(task));
  }
  arrived_.notify_one();
  return true;
}

std::size_t WorkerPool::queued() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void WorkerPool::stop(std::chrono::milliseconds patience) {
  for (auto& thread : threads_) thread.request_stop();
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    ended_.wait_for(lock, patience, [this] { return at_work_ == 0; });
  }
  at_once_.turn();
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

// None when there is nothing left to do.
std::function<void()> WorkerPool::next(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, stop, [this] { return !queue_.empty(); });
  if (queue_.empty()) return {};
  auto task = std::move(queue_.front());
  queue_.pop_front();
  return task;
}

void WorkerPool::run(std::stop_token stop) {
  ::pthread_setname_np(::pthread_self(), "worker");
  const interrupt::Minding minding(at_once_);
  while (const auto task = next(stop)) {
    ++taken_;
    if (!at_once_.turned()) task();
  }
  {
    const std::lock_guard lock(mutex_);
    --at_work_;
  }
  ended_.notify_all();
}

}  // namespace aragora::edge
