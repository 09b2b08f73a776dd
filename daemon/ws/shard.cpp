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

// A copy: whoever is dropped leaves the set while it is walked.
std::vector<Session*> copyOf(const std::unordered_set<Session*>& sessions) {
  return {sessions.begin(), sessions.end()};
}
}  // namespace

Shard::Shard(edge::IoThreads::Context& context, HubOptions options, HubServices services,
             std::shared_ptr<Watched> watched)
    : context_(context),
      options_(options),
      services_(std::move(services)),
      counters_(services_.metrics),
      watched_(std::move(watched)),
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

void Shard::forget(const std::string& debate_id, Session& session) {
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
