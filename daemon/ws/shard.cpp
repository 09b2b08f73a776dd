#include "daemon/ws/shard.h"

#include <boost/asio/post.hpp>

#include <map>
#include <set>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "daemon/ws/session.h"

namespace aragora::ws {

namespace net = boost::asio;

namespace {
constexpr auto kHeartbeat = std::chrono::seconds(15);
constexpr auto kLooksAtCallers = std::chrono::seconds(1);

// What may end of a caller; nothing of those that the configuration names.
using Credential = std::pair<std::string, std::int64_t>;
Credential credentialOf(const accounts::Principal& caller) {
  if (caller.key) return {caller.key->id, 0};
  return caller.access ? Credential{caller.access->session, caller.access->token_version} : Credential{};
}

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
      watched_(std::move(watched)),
      heartbeat_timer_(context),
      callers_timer_(context) {}

void Shard::start() {
  net::post(context_, [self = shared_from_this()] {
    self->heartbeat();
    self->lookAtCallers();
  });
}

void Shard::deliver(FramePtr frame) {
  net::post(context_, [self = shared_from_this(), frame = std::move(frame)] {
    const auto found = self->subscribers_.find(frame->debate_id);
    if (found == self->subscribers_.end()) return;
    for (auto* session : copyOf(found->second)) session->live(frame);
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
    self->callers_timer_.cancel();
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

void Shard::heartbeat() {
  heartbeat_timer_.expires_after(kHeartbeat);
  heartbeat_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (error) return;
    if (!self->sessions_.empty()) {
      const auto frame = makeFrame({{"type", "heartbeat"},
                                    {"data", json::object{{"server_time", static_cast<double>(nowMicros()) / 1e6},
                                                          {"active_debates", self->services_.active_debates()},
                                                          {"connected_clients", self->clients()}}}});
      for (auto* session : copyOf(self->sessions_)) session->send(frame);
    }
    self->heartbeat();
  });
}

void Shard::lookAtCallers() {
  callers_timer_.expires_after(kLooksAtCallers);
  callers_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (error) return;
    const auto now = nowMicros();
    std::map<Credential, accounts::Principal> callers;
    for (auto* session : copyOf(self->sessions_)) {
      if (!session->open()) {
        if (session->lingers(now)) session->drop();
      } else if (const auto why = session->overdue(now); !why.empty()) {
        session->end(why);
      } else if (const auto credential = credentialOf(session->principal()); !credential.first.empty()) {
        callers.emplace(credential, session->principal());
      }
    }
    std::vector<accounts::Principal> list;
    list.reserve(callers.size());
    for (auto& [credential, caller] : callers) list.push_back(std::move(caller));
    if (!list.empty() && !self->asking_) self->askAbout(std::move(list));
    self->lookAtCallers();
  });
}

// While the database cannot say it, nobody gets anything new to read either.
void Shard::askAbout(std::vector<accounts::Principal> callers) {
  asking_ = services_.workers.post([self = shared_from_this(), callers = std::move(callers)](edge::Turn turn) mutable {
    std::vector<bool> ended(callers.size(), false);
    try {
      if (turn == edge::Turn::InTime) ended = self->services_.authenticator.ended(callers);
    } catch (const std::exception& error) {
      log::debug("whether sessions of WebSockets have ended could not be asked: {}", error.what());
    }
    auto& context = self->context_;
    net::post(context, [self = std::move(self), callers = std::move(callers), ended = std::move(ended)] {
      self->asking_ = false;
      self->endCallers(callers, ended);
    });
  });
}

void Shard::endCallers(const std::vector<accounts::Principal>& callers, const std::vector<bool>& ended) {
  std::set<Credential> gone;
  for (std::size_t i = 0; i < callers.size(); ++i) {
    if (ended[i]) gone.insert(credentialOf(callers[i]));
  }
  if (gone.empty()) return;
  for (auto* session : copyOf(sessions_)) {
    if (session->open() && gone.count(credentialOf(session->principal())) > 0) session->end("the session has ended");
  }
}

}  // namespace aragora::ws
