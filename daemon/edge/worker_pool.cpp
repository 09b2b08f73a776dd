#include "daemon/edge/worker_pool.h"

#include <pthread.h>

namespace aragora::edge {

WorkerPool::WorkerPool(std::size_t threads, std::size_t queue_limit, std::chrono::milliseconds patience)
    : queue_limit_(queue_limit), patience_(patience), at_work_(threads), begun_(threads) {
  for (std::size_t i = 0; i < threads; ++i)
    threads_.emplace_back([this, i](std::stop_token stop) { run(std::move(stop), begun_[i]); });
}

bool WorkerPool::post(Task task) {
  std::vector<Waiting> late;
  bool accepted = false;
  {
    const std::lock_guard lock(mutex_);
    late = takeLate();
    accepted = !stopping_ && queue_.size() < queue_limit_;
    if (accepted) queue_.push_back({std::move(task), std::chrono::steady_clock::now()});
  }
  turnAway(late);
  if (accepted) arrived_.notify_one();
  return accepted;
}

void WorkerPool::turnAwayLate() {
  std::vector<Waiting> late;
  {
    const std::lock_guard lock(mutex_);
    late = takeLate();
  }
  turnAway(late);
}

std::vector<WorkerPool::Waiting> WorkerPool::takeLate() {
  std::vector<Waiting> all;
  while (!queue_.empty() && late(queue_.front())) {
    all.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return all;
}

void WorkerPool::turnAway(const std::vector<Waiting>& late) {
  turned_away_ += late.size();
  for (const auto& waiting : late) waiting.task(Turn::TooLate);
}

std::chrono::milliseconds WorkerPool::longest() const {
  const auto now = Clock::now();
  auto first = now;
  for (const auto& begun : begun_) {
    const Clock::time_point since{Clock::duration(begun)};
    if (since != Clock::time_point{}) first = std::min(first, since);
  }
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - first);
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
std::optional<WorkerPool::Waiting> WorkerPool::next(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, stop, [this] { return !queue_.empty(); });
  if (queue_.empty()) return std::nullopt;
  auto waiting = std::move(queue_.front());
  queue_.pop_front();
  return waiting;
}

void WorkerPool::run(std::stop_token stop, std::atomic<Clock::rep>& begun) {
  ::pthread_setname_np(::pthread_self(), "worker");
  const interrupt::Minding minding(at_once_);
  while (const auto waiting = next(stop)) {
    ++taken_;
    ++busy_;
    begun = Clock::now().time_since_epoch().count();
    // At the end, too: what a task holds goes back to where it belongs only when it runs.
    const bool too_late = at_once_.turned() || late(*waiting);
    if (too_late) ++turned_away_;
    waiting->task(too_late ? Turn::TooLate : Turn::InTime);
    begun = 0;
    --busy_;
  }
  {
    const std::lock_guard lock(mutex_);
    --at_work_;
  }
  ended_.notify_all();
}

}  // namespace aragora::edge
