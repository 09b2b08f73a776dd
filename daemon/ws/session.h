// Private to daemon/ws: one WebSocket client, from its upgrade to its close. Lives in the I/O thread of its shard, kept
// by its own operations alone; a worker hands the last reference back. What it is sent waits in a queue of at most
// 1 MiB: whoever reads more slowly than a debate speaks is dropped and comes back to a replay, which is fetched in
// small batches as the socket drains.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <deque>
#include <set>

#include "daemon/edge/upgrade.h"
#include "daemon/ws/shard.h"

namespace aragora::ws {

inline constexpr std::size_t kLongestId = 128;

// What the request said, and the places that the client takes until it leaves.
struct Opening {
  std::string debate_id;  // empty: no subscription yet
  std::int64_t since = 0;
  Deltas deltas = Deltas::None;
  accounts::Principal principal;  // nobody: says who it is in its first message
  std::string address;
  std::string request_id;
  std::string protocol;  // to be echoed; empty for none
  std::shared_ptr<void> by_address;
  std::shared_ptr<void> by_account;
};

// The first subprotocol on offer that carries no secret (RFC 6455 section 4.2.2); empty when there is none.
std::string chosenProtocol(std::string_view offered);

void startSession(edge::Upgraded&& upgraded, std::shared_ptr<Shard> shard, Opening opening);

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(edge::Upgraded&& upgraded, std::shared_ptr<Shard> shard, Opening opening);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start();
  void send(FramePtr frame);
  void live(const FramePtr& frame);
  // A part of an answer goes out when nothing else waits. What comes while the client reads is joined; a client that
  // reads too slowly loses parts, and never the message that they become.
  using Rendered = std::function<const std::vector<FramePtr>&(Deltas)>;
  void hear(const wire::Delta& delta, const Rendered& rendered);
  void close();
  // With 1008, policy violation: who it is for may not be here any more.
  void end(std::string_view why);
  void drop();
  bool open() const { return open_; }
  // Whether it was told to close some seconds ago and its client does not take part.
  bool lingers(Micros now) const;
  const accounts::Principal& principal() const { return opening_.principal; }
  // Why it has to end by now, whatever the database says; empty when it has not.
  std::string_view overdue(Micros now) const;

 private:
  struct Subscription {
    std::int64_t last_seq = 0;
    bool behind = false;  // has to be replayed from the store
    bool more = false;    // something came while a batch was read
    Deltas deltas = Deltas::None;
  };

  void opened();
  void closeWith(std::uint16_t code, std::string_view why);
  void read();
  Heard handle(const std::string& text);
  bool tooFast();
  void answerPing(const json::object& message);
  void warn(std::string_view code, const std::string& message);
  void authenticate(std::string token);
  void authenticated(std::optional<accounts::Principal> principal, bool failed);
  void subscribe(const std::string& debate_id, std::int64_t since, Deltas deltas);
  void unsubscribe(const std::string& debate_id);
  void forget(const std::string& debate_id);
  void replayNext();
  void replayed(const std::string& debate_id, const std::vector<FramePtr>& frames, bool known, bool failed);
  void push(FramePtr frame);
  void keep(const wire::Delta& delta);
  void catchUp();
  void outdated(const Frame& frame);
  void write();
  // Whether it is not known at the moment that its session or key is good: then nothing of a debate is said.
  bool unsure() const;

  boost::beast::websocket::stream<edge::Stream> stream_;
  edge::Upgraded upgraded_;  // without its socket
  std::shared_ptr<Shard> shard_;
  Opening opening_;
  std::shared_ptr<void> shown_;  // while it is held it is asked whether they are good; null for whom nobody ends
  boost::asio::steady_timer hold_back_;
  boost::asio::steady_timer retry_;
  boost::beast::flat_buffer buffer_;
  std::deque<FramePtr> queue_;
  std::size_t queued_bytes_ = 0;
  std::vector<wire::Delta> late_;  // came while something was written, in order; joined, at most 64 KiB
  std::size_t late_bytes_ = 0;
  bool open_ = false;
  bool authenticating_ = false;
  Micros began_ = nowMicros();
  std::optional<Micros> closing_since_;
  bool writing_ = false;
  bool held_ = false;
  bool replaying_ = false;  // one batch at a time, whatever it is of
  std::map<std::string, Subscription> subscriptions_;
  std::chrono::steady_clock::time_point next_message_{};  // GCRA
  std::chrono::steady_clock::time_point next_scolding_{};
};

}  // namespace aragora::ws
