#include "daemon/debate/engine.h"

#include "common/base/error.h"
#include "common/base/log.h"

namespace aragora::debate {

namespace {
constexpr auto kPoll = std::chrono::seconds(5);
constexpr auto kLease = std::chrono::seconds(30);
constexpr auto kRenew = std::chrono::seconds(8);
constexpr auto kCleaning = std::chrono::minutes(10);
constexpr auto kAfterFailure = std::chrono::seconds(2);
}  // namespace

Engine::Engine(RunServices services, std::string instance, std::size_t max_concurrent)
    : services_(std::move(services)), instance_(std::move(instance)), max_concurrent_(max_concurrent) {}

void Engine::start() {
  scheduler_ = std::thread([this] { schedule(); });
  renewer_ = std::thread([this] { renew(); });
}

void Engine::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void Engine::cancel(const std::string& debate_id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = running_.find(debate_id); found != running_.end())
    found->second->control.cancelling.request_stop();
}

std::size_t Engine::active() const {
  const std::lock_guard lock(mutex_);
  return running_.size();
}

// The background loop's catch-all: a store that fails is logged and tried again.
void Engine::schedule() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    woken_ = false;
    reap(lock);
    const auto room = max_concurrent_ - running_.size();
    auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(kPoll);
    if (room > 0) {
      lock.unlock();
      std::vector<std::string> ids;
      try {
        if (std::chrono::steady_clock::now() >= next_cleaning_) {
          next_cleaning_ = std::chrono::steady_clock::now() + kCleaning;
          services_.debates.forgetOldIdempotencyKeys();
        }
        ids = services_.debates.unowned(static_cast<std::int64_t>(room));
      } catch (const std::exception& error) {
        log::warning("looking for debates to run failed: {}", error.what());
        pause = kAfterFailure;
      }
      lock.lock();
      for (const auto& id : ids) {
        if (!stopping_ && running_.count(id) == 0) launch(id);
      }
      if (ids.size() == room && !ids.empty()) continue;
    }
    changed_.wait_for(lock, pause, [this] { return stopping_ || woken_; });
  }
}

void Engine::launch(const std::string& id) {
  auto& running = running_[id];
  running = std::make_unique<Running>();
  running->thread = std::thread([this, id, &state = *running] { runOne(id, state); });
}

void Engine::runOne(const std::string& id, Running& running) {
  try {
    if (auto lease = services_.debates.acquireLease(id, instance_, kLease)) {
      {
        const std::lock_guard lock(mutex_);
        running.lease = lease;
      }
      const auto debate = services_.debates.find(id);
      if (debate && !debate->finished()) {
        if (debate->cancel_requested) running.control.cancelling.request_stop();
        services_.metrics.count("aragora_debates_started_total");
        runDebate(*debate, *lease, services_, running.control);
      }
      services_.debates.releaseLease(*lease);
    }
  } catch (const HandedBack&) {
    try {
      services_.debates.releaseLease(*running.lease);
      log::info("debate {} handed back", id);
    } catch (const std::exception& error) {
      log::warning("debate {}: the lease could not be released ({}); it runs out by itself", id, error.what());
    }
  } catch (const std::exception& error) {
    // The lease runs out and the debate is taken up again, here or elsewhere.
    log::error("debate {} was interrupted: {}", id, error.what());
  }
  {
    const std::lock_guard lock(mutex_);
    running.done = true;
    woken_ = true;
  }
  changed_.notify_all();
}

void Engine::reap(std::unique_lock<std::mutex>& lock) {
  std::vector<std::unique_ptr<Running>> ended;
  for (auto entry = running_.begin(); entry != running_.end();) {
    if (entry->second->done) {
      ended.push_back(std::move(entry->second));
      entry = running_.erase(entry);
    } else {
      ++entry;
    }
  }
  lock.unlock();
  for (auto& running : ended) running->thread.join();
  lock.lock();
}

void Engine::renew() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, kRenew, [this] { return stopping_; })) {
    std::vector<std::pair<std::string, store::Lease>> leases;
    for (const auto& [id, running] : running_) {
      if (running->lease && !running->done) leases.emplace_back(id, *running->lease);
    }
    lock.unlock();
    for (const auto& [id, lease] : leases) {
      bool held = true;
      bool cancelled = false;
      try {
        held = services_.debates.renewLease(lease, kLease);
        if (const auto debate = services_.debates.find(id)) cancelled = debate->cancel_requested;
      } catch (const std::exception& error) {
        log::warning("the lease on debate {} could not be renewed: {}", id, error.what());
      }
      const std::lock_guard again(mutex_);
      if (const auto found = running_.find(id); found != running_.end()) {
        if (!held) found->second->control.stop = true;
        if (cancelled) found->second->control.cancelling.request_stop();  // requested at another instance
      }
    }
    lock.lock();
  }
}

void Engine::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& [id, running] : running_) running->control.stop = true;
  }
  changed_.notify_all();
  if (scheduler_.joinable()) scheduler_.join();
  if (renewer_.joinable()) renewer_.join();
  std::unique_lock lock(mutex_);
  auto remaining = std::move(running_);
  running_.clear();
  lock.unlock();
  for (auto& [id, running] : remaining) running->thread.join();
}

}  // namespace aragora::debate
