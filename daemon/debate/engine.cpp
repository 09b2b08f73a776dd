#include "daemon/debate/engine.h"

#include <pthread.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/store/ratings.h"
#include "daemon/debate/old_chains.h"

namespace aragora::debate {

namespace {
constexpr std::size_t kLookAhead = 64;  // candidates of one look at the store
constexpr auto kCandidatesStay = std::chrono::milliseconds(250);
constexpr auto kFirstTrouble = std::chrono::milliseconds(250);
constexpr auto kLongestTrouble = std::chrono::seconds(5);

std::chrono::milliseconds growing(std::chrono::milliseconds first, std::int64_t times,
                                  std::chrono::milliseconds longest) {
  auto pause = first;
  for (std::int64_t i = 0; i < times && pause < longest; ++i) pause *= 2;
  return std::min(pause, longest);
}

// What is no fault of the debate's: it is tried again for as long as it takes.
bool ofTheSurroundings(const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  if (known == nullptr) return dynamic_cast<const std::system_error*>(&error) != nullptr;
  switch (known->code()) {
    case Code::Unreachable:
    case Code::Overloaded:
    case Code::Busy:
    case Code::Io:
    case Code::StorageFull:
      return true;
    default:
      return false;
  }
}

// Two states of the surroundings that are told apart: full, and away.
Code stateOf(const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  return known != nullptr && known->code() == Code::StorageFull ? Code::StorageFull : Code::Unreachable;
}

bool leaseWent(const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  return known != nullptr && known->code() == Code::Conflict;
}
}  // namespace

Engine::Engine(RunServices services, EngineOptions options) : services_(std::move(services)), options_(options) {}

void Engine::start() {
  comeRound(came_round_);
  comeRound(renewed_);
  scheduler_ = std::jthread([this](const std::stop_token& stop) { schedule(stop); });
  renewer_ = std::jthread([this](const std::stop_token& stop) { renew(stop); });
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
  if (const auto found = running_.find(debate_id); found != running_.end()) found->second->control.cancel();
}

void Engine::pause(const std::string& debate_id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = running_.find(debate_id); found != running_.end()) found->second->control.pause();
}

bool Engine::runs(const std::string& debate_id) const {
  const std::lock_guard lock(mutex_);
  return running_.count(debate_id) > 0;
}

void Engine::lookForCancellations() {
  std::vector<std::string> ids;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, running] : running_) {
      if (!running->done && !running->control.cancelled()) ids.push_back(id);
    }
  }
  if (ids.empty()) return;
  for (const auto& id : services_.debates.cancelRequested(ids)) cancel(id);
  for (const auto& id : services_.debates.pauseRequested(ids)) pause(id);
}

std::chrono::milliseconds Engine::silence() const { return since(std::min<Clock::rep>(came_round_, renewed_)); }

std::chrono::milliseconds Engine::renewerSilence() const { return since(renewed_); }

std::chrono::milliseconds Engine::since(Clock::rep at) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - Clock::time_point{Clock::duration(at)});
}

std::size_t Engine::active() const {
  const std::lock_guard lock(mutex_);
  return running_.size();
}

void Engine::schedule(const std::stop_token& stop) {
  ::pthread_setname_np(::pthread_self(), "debates");
  const interrupt::Minding minding(at_once_);
  Lock lock(mutex_);
  while (!stop.stop_requested()) {
    comeRound(came_round_);
    woken_ = false;
    reap(lock);
    const auto now = Clock::now();
    auto room = options_.max_concurrent - std::min(options_.max_concurrent, running_.size());
    if (troubles_ > 0) room = now < trouble_until_ ? 0 : std::min<std::size_t>(room, 1);
    bool more = false;
    if (room > 0) {
      lock.unlock();
      more = refill(room);
      lock.lock();
      if (candidates_.empty() && Clock::now() >= trouble_until_) troubles_ = 0;  // nothing waits for it to pass
      std::size_t launched = 0;
      while (launched < room && launchNext(stop)) ++launched;
      more = more && launched > 0 && troubles_ == 0 && candidates_.empty();
    }
    if (more) continue;
    auto pause = options_.poll;
    if (troubles_ > 0 && trouble_until_ > Clock::now())
      pause = std::chrono::duration_cast<std::chrono::milliseconds>(trouble_until_ - Clock::now()) +
              std::chrono::milliseconds(1);
    // In trouble nothing but time helps; whatever wakes us would only make us try at once.
    changed_.wait_for(lock, stop, pause, [this] { return woken_ && troubles_ == 0; });
  }
}

// Looks for debates to run when none are known, or too old ones. Whether there may be more than were taken. The
// background loop's catch-all: a store that fails is logged and tried again.
bool Engine::refill(std::size_t room) {
  const auto now = Clock::now();
  if (!candidates_.empty() && now - looked_ < kCandidatesStay) return false;
  try {
    bringUpToDate();
    const auto wanted = std::max(room, kLookAhead);
    candidates_ = services_.leases.waiting(static_cast<std::int64_t>(wanted));
    std::reverse(candidates_.begin(), candidates_.end());
    looked_ = now;
    return candidates_.size() == wanted;
  } catch (const std::exception& error) {
    candidates_.clear();
    const std::lock_guard lock(mutex_);
    troubled(stateOf(error), fmt::format("looking for debates to run failed: {}", error.what()));
    return false;
  }
}

// Before anything runs.
void Engine::bringUpToDate() {
  if (up_to_date_) return;
  sealOldChains(services_.database, services_.keyring, [this] { comeRound(came_round_); });
  if (store::bringRatingsUpToDate(services_.database)) log::info("ratings counted anew, by the rules of this version");
  up_to_date_ = true;
}

bool Engine::launchNext(const std::stop_token& stop) {
  while (!candidates_.empty() && !stop.stop_requested()) {
    const auto id = std::move(candidates_.back());
    candidates_.pop_back();
    if (running_.count(id) == 0) return launch(id);
  }
  return false;
}

bool Engine::launch(const std::string& id) {
  auto& running = running_[id];
  running = std::make_unique<Running>();
  try {
    running->thread = std::jthread([this, id, &state = *running] {
      ::pthread_setname_np(::pthread_self(), "debate");
      const interrupt::Minding minding(at_once_);
      runOne(id, state);
    });
    return true;
  } catch (const std::system_error& error) {
    running_.erase(id);
    troubled(Code::Unreachable, fmt::format("no thread for debate {}: {}", id, error.what()));
    return false;
  }
}

void Engine::runOne(const std::string& id, Running& running) {
  const log::Scope scope({"", id});
  try {
    if (auto lease = services_.leases.acquire(id, options_.lease)) {
      {
        const std::lock_guard lock(mutex_);
        running.lease = lease;
        troubles_ = 0;
      }
      work(*lease, running.control);
      const std::lock_guard lock(mutex_);
      if (std::exchange(told_, std::nullopt)) log::info("debates run again");
    }
  } catch (const HandedBack&) {
    log::info("debate {} handed back", id);
  } catch (const std::exception& error) {
    failed(id, running, error);
  }
  {
    const std::lock_guard lock(mutex_);
    running.done = true;
    woken_ = true;
  }
  changed_.notify_all();
}

void Engine::work(const store::Lease& lease, Control& control) {
  const auto release = [&] {
    try {
      services_.leases.release(lease);
    } catch (const std::exception& error) {
      const std::lock_guard lock(mutex_);
      troubled(stateOf(error), fmt::format("the lease of debate {} could not be released and runs out: {}",
                                           lease.debate_id, error.what()));
    }
  };
  try {
    const auto debate = services_.debates.find(lease.debate_id);
    if (debate && !debate->finished()) {
      services_.metrics.count("aragora_debates_started_total");
      if (debate->cancel_requested) control.cancel();
      if (debate->pause_requested) control.pause();
      runDebate(*debate, lease, services_, control);
    }
  } catch (const HandedBack&) {
    if (!stopping()) release();  // else all of them in one statement
    throw;
  } catch (const Rests& rests) {
    services_.leases.releaseFor(lease, rests.pause);
    return;
  }
  release();
}

void Engine::failed(const std::string& id, const Running& running, const std::exception& error) {
  if (running.control.handedBack() || (running.lease && leaseWent(error))) {
    log::info("debate {} goes on elsewhere: {}", id, error.what());
    return;
  }
  try {
    if (running.lease && !ofTheSurroundings(error)) return countFailure(*running.lease, error.what());
    if (running.lease) services_.leases.release(*running.lease);
  } catch (const std::exception& again) {
    if (ofTheSurroundings(again))
      log::debug("debate {}: {}", id, again.what());
    else
      log::warning("debate {}: {}", id, again.what());
  }
  const std::lock_guard lock(mutex_);
  troubled(stateOf(error), fmt::format("debate {} was interrupted: {}", id, error.what()));
}

// Tried again after a pause, here or elsewhere, until it was tried often enough.
void Engine::countFailure(const store::Lease& lease, const std::string& reason) {
  const auto failures = lease.failures + 1;
  if (failures < options_.tries) {
    const auto pause = growing(options_.first_pause, lease.failures, options_.longest_pause);
    log::error("debate {} could not be run, the {}. time of {}: {}; tried again in {}", lease.debate_id, failures,
               options_.tries, reason, humanDuration(pause));
    return services_.leases.releaseAfterFailure(lease, pause);
  }
  log::error("debate {} could not be run and ends as failed: {}", lease.debate_id, reason);
  if (const auto debate = services_.debates.find(lease.debate_id); debate && !debate->finished())
    failDebate(*debate, lease, services_, printable(redact(reason), 300));
  services_.leases.release(lease);
}

// Under the lock. One line a change of state, not one a debate or a try.
void Engine::troubled(Code state, std::string_view reason) {
  if (Clock::now() < trouble_until_ && troubles_ > 0) return;
  const auto pause = growing(kFirstTrouble, troubles_++, kLongestTrouble);
  trouble_until_ = Clock::now() + pause;
  if (std::exchange(told_, state) == state)
    log::debug("{}", reason);
  else
    log::warning("{}; debates are tried again, the next time in {}", reason, humanDuration(pause));
}

void Engine::reap(Lock& lock) {
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
  ended.clear();  // joins
  lock.lock();
}

void Engine::renew(const std::stop_token& stop) {
  ::pthread_setname_np(::pthread_self(), "leases");
  const interrupt::Minding minding(at_once_);
  bool not_renewed = false;  // told
  Lock lock(mutex_);
  while (!stop.stop_requested()) {
    comeRound(renewed_);
    changed_.wait_for(lock, stop, options_.renew, [] { return false; });
    if (stop.stop_requested() || running_.empty()) continue;
    std::map<std::string, std::int64_t> held;
    for (const auto& [id, running] : running_) {
      if (running->lease && !running->done) held[id] = running->lease->epoch;
    }
    if (held.empty()) continue;
    lock.unlock();
    std::vector<std::string> ids;
    ids.reserve(held.size());
    for (const auto& [id, epoch] : held) ids.push_back(id);
    std::optional<std::vector<store::Leases::Renewed>> renewed;
    try {
      renewed = services_.leases.renew(ids, options_.lease);
      not_renewed = false;
    } catch (const std::exception& error) {
      if (!std::exchange(not_renewed, true)) log::warning("the leases could not be renewed: {}", error.what());
    }
    lock.lock();
    if (!renewed) continue;
    for (const auto& lease : *renewed) {
      const auto found = held.find(lease.debate_id);
      if (found == held.end() || found->second != lease.epoch) continue;
      held.erase(found);
      // Requested at another instance.
      const auto running = running_.find(lease.debate_id);
      if (running == running_.end()) continue;
      if (lease.cancel_requested) running->second->control.cancel();
      if (lease.pause_requested) running->second->control.pause();
    }
    for (const auto& [id, epoch] : held) {  // lost
      const auto running = running_.find(id);
      if (running != running_.end() && !running->second->done) running->second->control.handBack();
    }
  }
}

bool Engine::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

void Engine::releaseAll() {
  try {
    services_.leases.releaseAll();
  } catch (const std::exception& error) {
    log::warning("the leases could not be released ({}); they run out by themselves", error.what());
  }
}

void Engine::handBackAll() {
  const std::lock_guard lock(mutex_);
  for (auto& [id, running] : running_) running->control.handBack();
}

void Engine::closeDown() {
  const interrupt::Minding minding(at_once_);
  for (auto* thread : {&scheduler_, &renewer_}) {
    if (thread->joinable()) thread->join();
  }
  handBackAll();  // also what was launched last
  decltype(running_) ending;
  {
    const std::lock_guard lock(mutex_);
    ending.swap(running_);
  }
  if (!ending.empty()) {
    releaseAll();    // others go on at once; what still runs here is fenced by its epoch
    ending.clear();  // joins
    // What came to its lease meanwhile; and all of them where a statement before was broken off.
    const interrupt::Minding lastly(last_word_);
    releaseAll();
  }
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

void Engine::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(stopping_, true)) return;
  }
  for (auto* thread : {&scheduler_, &renewer_}) thread->request_stop();
  handBackAll();
  std::jthread closing;
  try {
    closing = std::jthread([this] { closeDown(); });
  } catch (const std::system_error&) {  // no thread
  }
  for (const auto& which : {at_once_, last_word_}) {
    {
      Lock lock(mutex_);
      if (closing.joinable()) changed_.wait_for(lock, options_.patience, [this] { return closed_; });
    }
    which.turn();
  }
  if (!closing.joinable()) closeDown();
}

}  // namespace aragora::debate
