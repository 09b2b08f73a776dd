#include "daemon/cluster/follower.h"

#include <pthread.h>

#include <set>

#include "common/base/ids.h"
#include "common/base/log.h"

namespace aragora::cluster {

namespace {
constexpr auto kWithoutHints = std::chrono::milliseconds(500);
constexpr auto kWithHints = std::chrono::milliseconds(2000);
constexpr std::size_t kMostWaiting = 10'000;  // debates; what is forgotten is found by the next round
constexpr std::int64_t kBatch = 500;
}  // namespace

void Follower::start() {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    ::pthread_setname_np(::pthread_self(), "follower");
    const interrupt::Minding minding(at_once_);
    run(stop);
  });
}

void Follower::stop() {
  thread_.request_stop();
  at_once_.turn();
  if (thread_.joinable()) thread_.join();
}

void Follower::wrote(const std::string& debate_id, std::int64_t seq) {
  const std::lock_guard lock(mutex_);
  if (const auto found = published_.find(debate_id); found != published_.end())
    found->second = std::max(found->second, seq);
}

void Follower::told(const std::string& debate_id, std::int64_t seq) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.told.size() >= kMostWaiting) return;
    auto& last = waiting_.told[debate_id];
    last = std::max(last, seq);
  }
  changed_.notify_all();
}

void Follower::cancellationAsked() {
  {
    const std::lock_guard lock(mutex_);
    waiting_.cancellations = true;
  }
  changed_.notify_all();
}

void Follower::setListening(bool listening) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(listening_, listening) == listening) return;
    next_round_ = Clock::now();
    missed_ = true;
  }
  changed_.notify_all();
}

void Follower::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const auto round = next(stop);
    if (stop.stop_requested()) return;
    try {
      look(round);
      failing_ = false;
    } catch (const std::exception& error) {  // the thread's boundary
      const std::lock_guard lock(mutex_);
      next_round_ = Clock::now() + kWithoutHints;
      missed_ = true;
      if (!std::exchange(failing_, true) && !stop.stop_requested())
        log::warning("what other instances write cannot be read: {}", error.what());
    }
  }
}

Follower::Round Follower::next(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const auto due = [this] { return !waiting_.told.empty() || waiting_.cancellations || Clock::now() >= next_round_; };
  while (!stop.stop_requested() && !due()) changed_.wait_until(lock, stop, next_round_, due);
  Round round = std::exchange(waiting_, {});
  if (Clock::now() < next_round_) return round;
  round.all = true;
  // What was said while nobody listened, or was lost with a round that failed, is not said again.
  round.cancellations = round.cancellations || !listening_ || std::exchange(missed_, false);
  next_round_ = Clock::now() + (listening_ ? kWithHints : kWithoutHints);
  return round;
}

void Follower::look(const Round& round) {
  if (round.cancellations) services_.look_for_cancellations();
  for (const auto& [debate_id, seq] : round.told) follow(debate_id, seq);
  if (round.all) lookAtAll();
}

void Follower::lookAtAll() {
  std::vector<std::string> ids;
  for (auto& id : services_.watched()) {
    if (ulidTime(id)) ids.push_back(std::move(id));  // clients may wait for anything
  }
  {
    const std::set<std::string> watched(ids.begin(), ids.end());
    const std::lock_guard lock(mutex_);
    for (auto entry = published_.begin(); entry != published_.end();)
      entry = watched.count(entry->first) == 0 ? published_.erase(entry) : std::next(entry);
  }
  if (ids.empty()) return;
  for (const auto& [debate_id, seq] : services_.debates.heads(ids)) follow(debate_id, seq);
}

// Whoever watches a debate for the first time gets its last event, and replays what is before it.
void Follower::follow(const std::string& debate_id, std::int64_t seq) {
  std::int64_t since = seq - 1;
  {
    const std::lock_guard lock(mutex_);
    const auto known = published_.find(debate_id);
    if (known != published_.end()) since = known->second;
    if (since >= seq) return;
  }
  const auto events = services_.debates.events(debate_id, since, kBatch);
  for (const auto& event : events) services_.publish(event);
  if (events.empty()) return;
  const std::lock_guard lock(mutex_);
  auto& last = published_[debate_id];
  last = std::max(last, events.back().seq);
}

}  // namespace aragora::cluster
