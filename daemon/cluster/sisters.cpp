#include "daemon/cluster/sisters.h"

#include <future>

#include "common/base/log.h"

namespace aragora::cluster {

using redis::LinkState;

namespace {
constexpr auto kMinding = std::chrono::milliseconds(100);
constexpr auto kNoWaiting = std::chrono::seconds(2);      // for those that did not listen
constexpr auto kHiccup = std::chrono::milliseconds(400);  // of slowness, before it is told
constexpr std::string_view kHints = "hints";
constexpr auto kConnecting = std::chrono::milliseconds(1200);
constexpr auto kBeatWithin = std::chrono::milliseconds(1000);
constexpr auto kGoodbye = std::chrono::milliseconds(50);
constexpr std::string_view kLifetime = "10000";  // milliseconds without a beat

// KEYS: when each was last heard, what each says of itself. ARGV: instance, what it says, lifetime; nothing said is
// goodbye. Answers what the living say.
constexpr std::string_view kBeat = R"(
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if ARGV[2] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  return {}
end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])) do
  redis.call('ZREM', KEYS[1], gone)
  redis.call('HDEL', KEYS[2], gone)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3] * 6)
redis.call('PEXPIRE', KEYS[2], ARGV[3] * 6)
return redis.call('HVALS', KEYS[2])
)";

std::string ownChannel(const std::string& instance) { return fmt::format("{}:{}", kHints, instance); }
}  // namespace

Sisters::Sisters(SistersOptions options, std::function<void(const Heard&)> heard, std::function<void(bool)> listening,
                 std::function<void(const std::string& line)> speech)
    : options_(std::move(options)),
      heard_(std::move(heard)),
      on_listening_(std::move(listening)),
      speech_(std::move(speech)),
      beat_(std::string(kBeat)) {
  if (!configured()) return;
  redis::LinkOptions how;
  how.address = *options_.redis;
  speaking_ = std::make_unique<redis::Link>(
      how, [this](LinkState state, const std::string& reason) { noteState(state, reason); });
  how.channels = {key(kHints), key(ownChannel(options_.instance))};
  if (speech_) how.channels.push_back(speechChannel(options_.instance));
  listening_ = std::make_unique<redis::Link>(
      how,
      [this](LinkState state, const std::string& reason) {
        noteState(state, reason);
        on_listening_(state == LinkState::Connected);  // what comes late may not come at all
      },
      [this](const std::string& line) { hear(line); });
}

void Sisters::hear(const std::string& line) {
  const auto said = parse(line);
  if (!said) {
    if (speech_) speech_(line);
    return;
  }
  if (said->hint.kind == HintKind::Minded) {
    const std::lock_guard lock(mutex_);
    const auto found = tickets_.find(said->hint.ticket);
    if (found != tickets_.end()) ++found->second.minded;
    return minded_.notify_all();
  }
  if (said->instance != options_.instance) heard_(*said);
  if (said->hint.ticket != 0)  // our own, too: it is one of those that Redis counts
    publish(ownChannel(said->instance), {.kind = HintKind::Minded, .ticket = said->hint.ticket}, {});
}

void Sisters::start() {
  if (!configured()) return;
  speaking_->start();
  listening_->start();
  const auto until = deadlineIn(kConnecting);
  speaking_->awaitFirstAttempt(remaining(until));
  listening_->awaitFirstAttempt(remaining(until));
  const std::lock_guard lock(mutex_);
  settled_ = true;
  tellState();
}

void Sisters::stop() {
  if (!configured() || stopping_.exchange(true)) return;
  auto gone = std::make_shared<std::promise<void>>();  // shared with an answer that may come late
  if (beat_.run(*speaking_, {key("beats"), key("instances")}, {options_.instance, "", std::string(kLifetime)}, kGoodbye,
                [gone](const redis::Reply*) { gone->set_value(); }))
    gone->get_future().wait_for(kGoodbye * 2);
  listening_->stop();
  speaking_->stop();
}

LinkState Sisters::state() const {
  return configured() ? std::min(speaking_->state(), listening_->state()) : LinkState::Away;
}

bool Sisters::publish(std::string_view channel, const Hint& hint, redis::Link::Done done) {
  return configured() &&
         speaking_->send({"PUBLISH", key(channel), encode(hint, options_.instance)}, kBeatWithin, std::move(done));
}

void Sisters::tell(const Hint& hint) { publish(kHints, hint, {}); }

void Sisters::tellAndWait(Hint hint) {
  std::unique_lock lock(mutex_);
  if (state() != LinkState::Connected || Clock::now() < no_waiting_until_) {
    lock.unlock();
    return tell(hint);
  }
  const auto ticket = ++last_ticket_;
  tickets_[ticket] = {};
  lock.unlock();
  hint.ticket = ticket;
  const bool told = publish(kHints, hint, [this, ticket](const redis::Reply* reply) {
    const std::lock_guard answering(mutex_);
    const auto found = tickets_.find(ticket);
    if (found != tickets_.end()) found->second.listeners = reply != nullptr ? reply->integer : 0;
    minded_.notify_all();
  });
  lock.lock();
  if (told) await(lock, ticket);
  tickets_.erase(ticket);
}

void Sisters::await(std::unique_lock<std::mutex>& lock, std::int64_t ticket) {
  const auto all_have = [this, ticket] {
    const auto& one = tickets_.at(ticket);
    return one.listeners && one.minded >= *one.listeners;
  };
  if (!minded_.wait_for(lock, kMinding, all_have)) no_waiting_until_ = Clock::now() + kNoWaiting;
}

void Sisters::beat(const std::string& about) {
  if (!configured() || stopping_) return;
  {
    const std::lock_guard lock(mutex_);
    if (settled_) tellState();
  }
  beat_.run(*speaking_, {key("beats"), key("instances")}, {options_.instance, about, std::string(kLifetime)},
            kBeatWithin, [this](const redis::Reply* reply) {
              if (reply == nullptr || reply->kind != redis::Reply::Kind::Array) return;
              Instances living;
              for (const auto& element : reply->elements) living.push_back(element.text);
              alive_ = living.size();
              const std::lock_guard lock(mutex_);
              instances_ = std::move(living);
            });
}

Instances Sisters::instances() const {
  const std::lock_guard lock(mutex_);
  return instances_;
}

void Sisters::noteState(LinkState state, const std::string& reason) {
  if (state == LinkState::Away && !stopping_) ++connection_errors_;
  const std::lock_guard lock(mutex_);
  if (!reason.empty()) reason_ = reason;
  if (settled_ && !stopping_) tellState();
}

// Under the lock. One line when it begins not to be there for us and one when it is again, whichever of the two
// connections it was, and whether it is slow first and then away. A moment is not worth one.
void Sisters::tellState() {
  const auto now = state();
  // A connection that is back at the first attempt was not away; and that attempt knows best why it is.
  if (now == LinkState::Away && speaking_->failures() == 0 && listening_->failures() == 0) return;
  if (now != LinkState::Slow) slow_since_.reset();
  if (now == LinkState::Slow) {
    if (!slow_since_) slow_since_ = Clock::now();
    if (Clock::now() - *slow_since_ < kHiccup) return;
  }
  const bool works = now == LinkState::Connected;
  if (std::exchange(told_works_, works) == works) return;
  if (works)
    log::tell(log::Event::RedisState, log::Level::Info, "Redis answers again");
  else
    log::tell(log::Event::RedisState, log::Level::Warning,
              "Redis is {} ({}): until it is back each instance counts limits for itself and reads the database for "
              "what the others do",
              redis::name(now), reason_);
}

}  // namespace aragora::cluster
