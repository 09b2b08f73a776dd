#include "daemon/ws/session.h"

#include <boost/asio/post.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/websocket.hpp>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "daemon/ws/handshake.h"

namespace aragora::ws {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;

namespace {
constexpr std::size_t kMaxQueueBytes = 1U << 20;
constexpr std::size_t kReplayBelowBytes = 256 * 1024;
constexpr std::size_t kMaxMessage = 64 * 1024;
constexpr std::size_t kMaxLateBytes = 64 * 1024;
constexpr std::size_t kLateOverhead = 256;  // of a part, besides its text
constexpr std::int64_t kReplayBatch = 32;
constexpr auto kHoldBack = std::chrono::milliseconds(150);
constexpr auto kReplayAgain = std::chrono::seconds(1);
constexpr auto kScoldingPause = std::chrono::seconds(1);
constexpr std::size_t kMaxSubscriptions = 100;
constexpr Micros kMayBeNobody = 10'000'000;
constexpr Micros kMayLinger = 5'000'000;
constexpr std::string_view kSecretProtocol = "access_token.";

struct Batch {
  std::vector<FramePtr> frames;
  bool known = true;  // there is such a debate
  bool failed = true;
};

Batch fetch(store::Debates& debates, const std::string& debate_id, std::int64_t since) {
  Batch batch;
  try {
    for (const auto& event : debates.events(debate_id, since, kReplayBatch)) batch.frames.push_back(makeFrame(event));
    if (batch.frames.empty()) batch.known = debates.find(debate_id).has_value();
    batch.failed = false;
  } catch (const std::exception& error) {
    log::warning("replay of {} failed: {}", printable(debate_id, 60), error.what());
  }
  return batch;
}

// Not the end of a connection that was to be expected: closed, by us or by the client, or simply left.
bool isFailure(beast::error_code error) {
  return error != websocket::error::closed && error != net::error::operation_aborted && error != net::error::eof &&
         error != net::error::connection_reset;
}

Heard typeOf(std::string_view type) {
  if (type == "ping") return Heard::Ping;
  if (type == "auth" || type == "authenticate") return Heard::Authenticate;
  if (type == "subscribe") return Heard::Subscribe;
  return type == "unsubscribe" ? Heard::Unsubscribe : Heard::Unknown;
}

bool knownUser(const accounts::Principal& principal) {
  return principal.caller != accounts::Caller::Anonymous && principal.caller != accounts::Caller::Nobody;
}
}  // namespace

std::string chosenProtocol(std::string_view offered) {
  for (const auto& part : split(offered, ',')) {
    const auto name = trim(part);
    if (!name.empty() && !startsWith(name, kSecretProtocol)) return std::string(name);
  }
  return {};
}

void startSession(edge::Upgraded&& upgraded, std::shared_ptr<Shard> shard, Opening opening) {
  std::make_shared<Session>(std::move(upgraded), std::move(shard), std::move(opening))->start();
}

Session::Session(edge::Upgraded&& upgraded, std::shared_ptr<Shard> shard, Opening opening)
    : stream_(std::move(upgraded.socket)),
      upgraded_(std::move(upgraded)),
      shard_(std::move(shard)),
      opening_(std::move(opening)),
      shown_(shard_->services().callers->enter(opening_.principal)),
      hold_back_(shard_->context()),
      retry_(shard_->context()) {
  shard_->enter(*this);
}

Session::~Session() {
  for (const auto& [id, subscription] : subscriptions_) shard_->forget(id, *this);
  shard_->leave(*this);
}

void Session::start() {
  stream_.set_option(websocket::stream_base::timeout{std::chrono::seconds(10), std::chrono::seconds(60), true});
  upgraded_.headers.emplace_back("Server", "aragora");
  if (!opening_.protocol.empty()) upgraded_.headers.emplace_back("Sec-WebSocket-Protocol", opening_.protocol);
  stream_.set_option(websocket::stream_base::decorator([headers = std::move(upgraded_.headers)](auto& response) {
    for (const auto& [name, value] : headers) response.set(name, value);
  }));
  stream_.read_message_max(kMaxMessage);
  stream_.auto_fragment(false);
  stream_.text(true);
  prepare(upgraded_);
  stream_.async_accept(upgraded_.request, [self = shared_from_this()](beast::error_code error) {
    self->upgraded_.request = {};
    self->stream_.set_option(websocket::stream_base::decorator([](auto&) {}));  // lets go of the headers
    if (!error) self->opened();
  });
}

void Session::opened() {
  open_ = true;
  shard_->counters().opened.add();
  send(makeFrame(
      {{"type", "connection_info"},
       {"data", json::object{{"authenticated", knownUser(opening_.principal)},
                             {"authentication_required", opening_.principal.caller == accounts::Caller::Nobody},
                             {"client_id", newUlid()},
                             {"write_access", false}}}}));
  if (!opening_.debate_id.empty() && opening_.principal.caller != accounts::Caller::Nobody)
    subscribe(opening_.debate_id, opening_.since, opening_.deltas);
  read();
}

void Session::send(FramePtr frame) {
  if (!open_) return;
  if (queued_bytes_ + frame->text.size() > kMaxQueueBytes) {
    shard_->counters().slow.add();
    return drop();
  }
  push(std::move(frame));
}

void Session::push(FramePtr frame) {
  const auto& counters = shard_->counters();
  (frame->is_delta ? counters.delta : frame->seq > 0 ? counters.event : counters.control).add();
  queued_bytes_ += frame->text.size();
  queue_.push_back(std::move(frame));
  if (!writing_) write();
}

void Session::live(const FramePtr& frame) {
  const auto found = subscriptions_.find(frame->debate_id);
  if (found == subscriptions_.end()) return;
  auto& subscription = found->second;
  if (frame->seq <= subscription.last_seq) return;
  subscription.more = true;
  if (subscription.behind) return;
  if (frame->seq == subscription.last_seq + 1 && !unsure()) {
    subscription.last_seq = frame->seq;
    outdated(*frame);
    return send(frame);
  }
  subscription.behind = true;  // a gap, or not to be said yet: the store has what is missing
  replayNext();
}

void Session::hear(const wire::Delta& delta, const Rendered& rendered) {
  const auto found = subscriptions_.find(delta.debate_id);
  if (found == subscriptions_.end() || found->second.deltas == Deltas::None || !open_) return;
  if (found->second.behind || unsure()) return shard_->counters().lost_delta.add();  // the stored message has it
  if (writing_ || !late_.empty()) return keep(delta);
  for (const auto& frame : rendered(found->second.deltas)) push(frame);
}

void Session::keep(const wire::Delta& delta) {
  const auto same = std::find_if(late_.rbegin(), late_.rend(), [&](const auto& one) {
    return one.debate_id == delta.debate_id && one.agent == delta.agent;
  });
  const bool joins = same != late_.rend() && same->continuedBy(delta);
  const auto size = delta.text.size() + (joins ? 0 : kLateOverhead);
  if (late_bytes_ + size > kMaxLateBytes) return shard_->counters().lost_delta.add();
  late_bytes_ += size;
  if (joins)
    same->append(delta);
  else
    late_.push_back(delta);
}

// What waits of an answer is in the message that comes now.
void Session::outdated(const Frame& frame) {
  const auto gone = std::remove_if(late_.begin(), late_.end(), [&](const auto& one) {
    const bool old =
        one.debate_id == frame.debate_id && one.agent == frame.agent && one.kind == wire::Delta::Kind::Text;
    if (old) late_bytes_ -= one.text.size();
    return old;
  });
  late_bytes_ -= static_cast<std::size_t>(late_.end() - gone) * kLateOverhead;
  late_.erase(gone, late_.end());
}

// The client has read everything else. While it is still counted as writing, so that push() only queues.
void Session::catchUp() {
  auto late = std::exchange(late_, {});
  late_bytes_ = 0;
  for (const auto& delta : late) {
    const auto found = subscriptions_.find(delta.debate_id);
    if (found == subscriptions_.end() || found->second.behind) continue;
    for (auto& frame : makeFrames(delta, found->second.deltas)) push(std::move(frame));
  }
}

bool Session::unsure() const { return shown_ && shard_->services().callers->overdue(); }

void Session::close() { closeWith(websocket::close_code::going_away, "the server is stopping"); }

void Session::end(std::string_view why) { closeWith(websocket::close_code::policy_error, why); }

void Session::closeWith(std::uint16_t code, std::string_view why) {
  if (!open_) return drop();
  open_ = false;
  closing_since_ = nowMicros();
  hold_back_.cancel();
  retry_.cancel();
  stream_.async_close(
      websocket::close_reason(static_cast<websocket::close_code>(code), beast::string_view(why.data(), why.size())),
      [self = shared_from_this()](beast::error_code) {});
}

bool Session::lingers(Micros now) const { return closing_since_ && now - *closing_since_ > kMayLinger; }

std::string_view Session::overdue(Micros now) const {
  const auto& who = opening_.principal;
  if (who.caller == accounts::Caller::Nobody && now - began_ > kMayBeNobody) return "no credentials came";
  if (who.access && who.access->expires_at * 1'000'000 <= now) return "the access token has expired";
  if (who.key && who.key->expires_at <= now) return "the API key has expired";
  return {};
}

void Session::drop() {
  open_ = false;
  hold_back_.cancel();
  retry_.cancel();
  beast::error_code ignored;
  stream_.next_layer().close(ignored);
}

void Session::read() {
  stream_.async_read(buffer_, [self = shared_from_this()](beast::error_code error, std::size_t) {
    if (error) {
      if (isFailure(error)) self->shard_->counters().failed.add();
      return self->drop();
    }
    const auto text = beast::buffers_to_string(self->buffer_.data());
    self->buffer_.consume(self->buffer_.size());
    if (!self->tooFast()) self->shard_->counters().heard(self->handle(text));
    if (self->open_) self->read();
  });
}

// One warning a second; the messages themselves are not looked at.
bool Session::tooFast() {
  const auto limit = shard_->options().messages_per_minute;
  if (limit <= 0) return false;
  const auto now = std::chrono::steady_clock::now();
  const auto emission = std::chrono::nanoseconds(std::chrono::minutes(1)) / limit;
  const auto next = std::max(next_message_, now) + emission;
  if (next - now <= emission * limit) {
    next_message_ = next;
    return false;
  }
  if (now >= next_scolding_) {
    next_scolding_ = now + kScoldingPause;
    warn("RATE_LIMITED", fmt::format("more than {} messages a minute; this one is not answered", limit));
  }
  return true;
}

Heard Session::handle(const std::string& text) {
  const auto value = tryParseJson(text);
  if (!value || !value->is_object()) {
    warn("INVALID_JSON", "send one JSON object a frame");
    return Heard::Unknown;
  }
  const auto& message = value->get_object();
  const auto type = jsonTextOr(message, "type", "");
  const auto debate_id = jsonText(message, "debate_id").value_or(jsonTextOr(message, "loop_id", ""));
  const auto what = typeOf(type);
  if (debate_id.size() > kLongestId)
    warn("INVALID_VALUE", fmt::format("debate_id is longer than {}", counted(kLongestId, "character")));
  else if (what == Heard::Ping)
    answerPing(message);
  else if (what == Heard::Authenticate)
    authenticate(jsonTextOr(message, "token", ""));
  else if (opening_.principal.caller == accounts::Caller::Nobody)
    warn("UNAUTHORIZED", "say who you are first, in a message of type auth");
  else if (what == Heard::Subscribe && debate_id.empty())
    warn("MISSING_FIELD", "subscribe needs debate_id");
  else if (const auto deltas = parseDeltas(jsonTextOr(message, "deltas", "")); what == Heard::Subscribe && !deltas)
    warn("INVALID_VALUE", "deltas is not one of agent, tokens, none");
  else if (what == Heard::Subscribe)
    subscribe(debate_id, jsonIntegerOr(message, "replay_from_seq", jsonIntegerOr(message, "since", 0)), *deltas);
  else if (what == Heard::Unsubscribe)
    unsubscribe(debate_id);
  else
    warn("INVALID_VALUE", fmt::format("unknown message type '{}'", printable(type, 40)));
  return what;
}

void Session::unsubscribe(const std::string& debate_id) {
  forget(debate_id);
  send(makeFrame({{"type", "unsubscribed"}, {"debate_id", debate_id}}));
}

void Session::answerPing(const json::object& message) {
  json::object pong{{"type", "pong"}, {"data", json::object{{"server_ts", static_cast<double>(nowMicros()) / 1e6}}}};
  if (const auto* ts = message.if_contains("ts")) pong["data"].as_object()["client_ts"] = *ts;
  send(makeFrame(std::move(pong)));
}

// Never a frame of type "error": clients end their stream at one.
void Session::warn(std::string_view code, const std::string& message) {
  send(makeFrame({{"type", "warning"}, {"data", json::object{{"code", code}, {"message", message}}}}));
}

// The first message of who came without, or a later one with a fresh token of the same caller.
void Session::authenticate(std::string token) {
  if (authenticating_) return warn("INVALID_VALUE", "the credentials before are being looked at");
  authenticating_ = true;
  const bool accepted = shard_->services().workers.post(
      [self = shared_from_this(), secret = Secret(std::move(token))](edge::Turn turn) mutable {
        const log::Scope scope({self->opening_.request_id, ""});
        std::optional<accounts::Principal> principal;
        bool failed = turn == edge::Turn::TooLate;
        try {
          if (!failed) principal = self->shard_->services().authenticator.authenticate(secret.reveal());
        } catch (const Error& error) {
          failed = error.code() != Code::Unauthorized;
        } catch (const std::exception& error) {
          log::warning("credentials of a WebSocket could not be looked at: {}", error.what());
          failed = true;
        }
        auto& context = self->shard_->context();
        net::post(context, [self = std::move(self), principal = std::move(principal), failed]() mutable {
          self->authenticated(std::move(principal), failed);
        });
      });
  if (!accepted) authenticated(std::nullopt, true);
}

void Session::authenticated(std::optional<accounts::Principal> principal, bool failed) {
  authenticating_ = false;
  if (!open_) return;
  if (failed) return warn("SERVICE_UNAVAILABLE", "the credentials cannot be looked at now; send them again");
  if (!principal || !accounts::permits(*principal, accounts::Permission::ReadDebates)) {
    shard_->services().refused(opening_.address, opening_.request_id);
    return end("the credentials are not valid");
  }
  const bool first = opening_.principal.caller == accounts::Caller::Nobody;
  if (!first && principal->name() != opening_.principal.name())
    return warn("INVALID_VALUE", "these credentials are somebody else's: open another WebSocket");
  if (first) opening_.by_account = shard_->services().place_of(*principal);
  if (!opening_.by_account) return end("too many WebSockets of this account");
  opening_.principal = std::move(*principal);
  shown_ = shard_->services().callers->enter(opening_.principal);
  send(makeFrame({{"type", "authenticated"}, {"data", json::object{{"authenticated", true}}}}));
  if (first && !opening_.debate_id.empty()) subscribe(opening_.debate_id, opening_.since, opening_.deltas);
}

void Session::subscribe(const std::string& debate_id, std::int64_t since, Deltas deltas) {
  if (!accounts::permits(opening_.principal, accounts::Permission::ReadDebates))
    return warn("FORBIDDEN", "these credentials may not read debates");
  if (subscriptions_.count(debate_id) == 0 && subscriptions_.size() >= kMaxSubscriptions)
    return warn("QUOTA_EXCEEDED", fmt::format("at most {} subscriptions a connection", kMaxSubscriptions));
  auto& subscription = subscriptions_[debate_id];
  subscription.last_seq = std::max<std::int64_t>(since, 0);
  subscription.behind = true;
  shard_->watch(debate_id, *this);
  subscription.deltas = deltas;
  if (deltas != Deltas::None) shard_->listen(debate_id, *this);
  send(makeFrame({{"type", "subscribed"},
                  {"debate_id", debate_id},
                  {"data", json::object{{"debate_id", debate_id}, {"from_seq", subscription.last_seq}}}}));
  replayNext();
}

void Session::forget(const std::string& debate_id) {
  shard_->forget(debate_id, *this);
  subscriptions_.erase(debate_id);
}

// Fetches the next batch of whatever is behind, once the client has read most of what it was sent.
void Session::replayNext() {
  if (replaying_ || !open_ || queued_bytes_ >= kReplayBelowBytes) return;
  const auto found =
      std::find_if(subscriptions_.begin(), subscriptions_.end(), [](const auto& entry) { return entry.second.behind; });
  if (found == subscriptions_.end()) return;
  replaying_ = true;
  if (unsure()) return replayed(found->first, {}, true, true);
  found->second.more = false;
  // The one reference goes to the worker and comes back with the batch, so that it is never dropped over there.
  const bool accepted = shard_->services().workers.post(
      [self = shared_from_this(), debate_id = found->first, since = found->second.last_seq](edge::Turn turn) mutable {
        const log::Scope scope({self->opening_.request_id, debate_id});
        auto batch = turn == edge::Turn::InTime ? fetch(self->shard_->services().debates, debate_id, since) : Batch{};
        auto& context = self->shard_->context();
        net::post(context, [self = std::move(self), debate_id = std::move(debate_id), batch = std::move(batch)] {
          self->replayed(debate_id, batch.frames, batch.known, batch.failed);
        });
      });
  if (!accepted) replayed(found->first, {}, true, true);
}

void Session::replayed(const std::string& debate_id, const std::vector<FramePtr>& frames, bool known, bool failed) {
  if (failed || unsure()) {  // the database is away or the workers are busy: again in a while
    retry_.expires_after(kReplayAgain);
    return retry_.async_wait([self = shared_from_this()](beast::error_code error) {
      self->replaying_ = false;
      if (!error) self->replayNext();
    });
  }
  replaying_ = false;
  const auto found = subscriptions_.find(debate_id);
  if (found == subscriptions_.end() || !open_) return replayNext();
  if (!known) {
    forget(debate_id);
    // The one thing that ends a stream: there is nothing to wait for.
    send(makeFrame(
        {{"type", "error"},
         {"debate_id", debate_id},
         {"loop_id", debate_id},
         {"data", json::object{{"code", "NOT_FOUND"},
                               {"debate_id", debate_id},
                               {"message", fmt::format("Debate not found: {}", printable(debate_id, 60))}}}}));
    return replayNext();
  }
  auto& subscription = found->second;
  for (const auto& frame : frames) {
    if (frame->seq <= subscription.last_seq) continue;
    subscription.last_seq = frame->seq;
    push(frame);
  }
  subscription.behind = subscription.more || frames.size() == static_cast<std::size_t>(kReplayBatch);
  replayNext();
}

void Session::write() {
  if (queue_.empty() && open_) catchUp();
  if (queue_.empty() || !open_) {
    writing_ = false;
    return;
  }
  writing_ = true;
  if (queue_.front()->ends_stream && !held_) {
    held_ = true;
    hold_back_.expires_after(kHoldBack);
    hold_back_.async_wait([self = shared_from_this()](beast::error_code error) {
      if (!error) self->write();
    });
    return;
  }
  held_ = false;
  stream_.async_write(net::buffer(queue_.front()->text),
                      [self = shared_from_this()](beast::error_code error, std::size_t) {
                        if (error) {
                          self->writing_ = false;
                          return self->drop();
                        }
                        self->queued_bytes_ -= self->queue_.front()->text.size();
                        self->queue_.pop_front();
                        self->replayNext();
                        self->write();
                      });
}

}  // namespace aragora::ws
