#include "daemon/ws/shard.h"

#include <boost/asio/post.hpp>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/ws/session.h"

namespace aragora::ws {

namespace net = boost::asio;

namespace {
constexpr auto kHeartbeat = std::chrono::seconds(15);
constexpr auto kSweep = std::chrono::seconds(1);
constexpr std::size_t kMostDeltaBytes = 1U << 20;  // that wait for the thread
constexpr std::size_t kDeltaOverhead = 256;

// A copy: whoever is dropped leaves the set while it is walked.
std::vector<Session*> copyOf(const std::unordered_set<Session*>& sessions) {
  return {sessions.begin(), sessions.end()};
}
}  // namespace

Shard::Shard(edge::IoThreads::Context& context, HubOptions options, HubServices services,
             std::shared_ptr<Watched> watched, std::shared_ptr<Watched> heard)
    : context_(context),
      options_(options),
      services_(std::move(services)),
      counters_(services_.metrics),
      watched_(std::move(watched)),
      heard_(std::move(heard)),
      heartbeat_timer_(context),
      sweep_timer_(context) {}

void Shard::start() {
  net::post(context_, [self = shared_from_this()] {
    self->heartbeat();
    self->sweep();
  });
}

void Shard::deliver(FramePtr frame) {
  net::post(context_, [self = shared_from_this(), frame = std::move(frame)] {
    const auto found = self->subscribers_.find(frame->debate_id);
    if (found == self->subscribers_.end()) return;
    for (auto* session : copyOf(found->second)) session->live(frame);
    self->services_.metrics.observe("aragora_websocket_delivery_seconds",
                                    static_cast<double>(std::max<Micros>(nowMicros() - frame->at, 0)) / 1e6);
  });
}

void Shard::speak(const wire::Delta& delta) {
  bool first = false;
  {
    const std::lock_guard lock(deltas_mutex_);
    const auto same = std::find_if(deltas_.rbegin(), deltas_.rend(), [&](const auto& one) {
      return one.debate_id == delta.debate_id && one.agent == delta.agent;
    });
    const bool joins = same != deltas_.rend() && same->continuedBy(delta);
    const auto size = delta.text.size() + (joins ? 0 : kDeltaOverhead);
    if (deltas_bytes_ + size > kMostDeltaBytes) return counters_.lost_delta.add();
    deltas_bytes_ += size;
    first = deltas_.empty();
    if (joins)
      same->append(delta);
    else
      deltas_.push_back(delta);
  }
  if (first) net::post(context_, [self = shared_from_this()] { self->tellDeltas(); });
}

void Shard::tellDeltas() {
  std::deque<wire::Delta> deltas;
  {
    const std::lock_guard lock(deltas_mutex_);
    deltas = std::exchange(deltas_, {});
    deltas_bytes_ = 0;
  }
  for (const auto& delta : deltas) {
    const auto found = listeners_.find(delta.debate_id);
    if (found == listeners_.end()) continue;
    std::map<Deltas, std::vector<FramePtr>> rendered;  // once for all who hear it the same way
    for (auto* session : copyOf(found->second)) {
      session->hear(delta, [&](Deltas how) -> const std::vector<FramePtr>& {
        const auto [place, fresh] = rendered.try_emplace(how);
        if (fresh) place->second = makeFrames(delta, how);
        return place->second;
      });
    }
    services_.metrics.observe("aragora_websocket_delta_seconds",
                              static_cast<double>(std::max<Micros>(nowMicros() - delta.at, 0)) / 1e6);
  }
}

void Shard::closeAll() {
  net::post(context_, [self = shared_from_this()] {
    for (auto* session : copyOf(self->sessions_)) session->close();
  });
}

void Shard::dropAll() {
  net::post(context_, [self = shared_from_this()] {
    self->heartbeat_timer_.cancel();
    self->sweep_timer_.cancel();
    for (auto* session : copyOf(self->sessions_)) session->drop();
  });
}

void Shard::enter(Session& session) {
  sessions_.insert(&session);
  ++count_;
}

void Shard::leave(Session& session) {
  if (sessions_.erase(&session) > 0) --count_;
}

void Shard::watch(const std::string& debate_id, Session& session) {
  if (subscribers_[debate_id].insert(&session).second) watched_->add(debate_id);
}

void Shard::listen(const std::string& debate_id, Session& session) {
  if (listeners_[debate_id].insert(&session).second) heard_->add(debate_id);
}

void Shard::forget(const std::string& debate_id, Session& session) {
  if (const auto heard = listeners_.find(debate_id); heard != listeners_.end() && heard->second.erase(&session) > 0) {
    if (heard->second.empty()) listeners_.erase(heard);
    heard_->remove(debate_id);
  }
  const auto found = subscribers_.find(debate_id);
  if (found == subscribers_.end() || found->second.erase(&session) == 0) return;
  if (found->second.empty()) subscribers_.erase(found);
  watched_->remove(debate_id);
}

// Armed again first, as sweep() is: whatever one of them throws, there is a next one.
void Shard::heartbeat() {
  heartbeat_timer_.expires_after(kHeartbeat);
  heartbeat_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (error) return;
    self->heartbeat();
    if (self->sessions_.empty()) return;
    const auto frame = makeFrame({{"type", "heartbeat"},
                                  {"data", json::object{{"server_time", static_cast<double>(nowMicros()) / 1e6},
                                                        {"active_debates", self->services_.active_debates()},
                                                        {"connected_clients", self->clients()}}}});
    for (auto* session : copyOf(self->sessions_)) session->send(frame);
  });
}

void Shard::sweep() {
  sweep_timer_.expires_after(kSweep);
  sweep_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (error) return;
    self->sweep();
    const auto now = nowMicros();
    for (auto* session : copyOf(self->sessions_)) {
      if (!session->open()) {
        if (session->lingers(now)) session->drop();
      } else if (const auto why = session->overdue(now); !why.empty()) {
        session->end(why);
      }
    }
  });
}

void Shard::end(const std::set<Credential>& gone) {
  net::post(context_, [self = shared_from_this(), gone] {
    for (auto* session : copyOf(self->sessions_)) {
      if (session->open() && gone.count(credentialOf(session->principal())) > 0) session->end("the session has ended");
    }
  });
}

}  // namespace aragora::ws
