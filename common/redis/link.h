// A connection to Redis for a daemon: commands of all threads go through it one behind the other without waiting for
// each other's answers (pipelining), and each answer comes back in the link's own thread. Nobody ever waits for it: a
// command that finds no connection, or a full queue, is refused at once, and one that is not answered within its time
// is told so. Lost connections are opened anew after growing pauses. A link with channels listens to them and has
// nothing else to say (Redis keeps the two apart). Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/redis/address.h"
#include "common/redis/reply.h"

namespace aragora::net {
struct Limits;
}

namespace aragora::redis {

class Wire;

// Slow: it answers, but not in the time that callers wait.
enum class LinkState { Away, Slow, Connected };
std::string_view name(LinkState state);

struct LinkOptions {
  Address address{};
  std::vector<std::string> channels{};        // to listen to; none: for commands
  std::chrono::milliseconds connect{1000};    // name look-up, TLS and password included
  std::chrono::milliseconds prompt{100};      // an answer later than this makes the link slow
  std::chrono::milliseconds silence{1000};    // after which a connection counts as broken
  std::chrono::milliseconds first_pause{50};  // before it is opened anew; doubled each time
  std::chrono::milliseconds longest_pause{500};
  std::size_t most_waiting = 10'000;  // commands that are not answered yet
  std::size_t most_bytes = 4U << 20;  // of commands that are not written yet
};

class Link {
 public:
  // The answer, or nullptr when none came. Must not wait, and must not throw.
  using Done = std::function<void(const Reply*)>;
  // All of them in the link's thread. A change of state, or another attempt to connect that failed. The reason is empty
  // when the state is Connected.
  using OnState = std::function<void(LinkState, const std::string& reason)>;
  using OnMessage = std::function<void(const std::string& payload)>;

  explicit Link(LinkOptions options, OnState on_state = {}, OnMessage on_message = {});
  ~Link() { stop(); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Begins to connect.
  void start();
  // Within 100 ms; what is not answered is told that nothing came.
  void stop();
  // False, and `done` is never called, when it cannot be sent now. Otherwise `done` is called exactly once.
  bool send(const Command& command, std::chrono::milliseconds within, Done done = {});
  LinkState state() const { return state_; }
  // Attempts to connect that failed since one succeeded.
  std::size_t failures() const { return failures_; }
  // Until the first attempt to connect has succeeded or failed, at most that long.
  void awaitFirstAttempt(std::chrono::milliseconds span) const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    Done done;
    Clock::time_point sent;
    Clock::time_point until;
    bool told = false;  // that nothing came in time
  };

  void run(const std::stop_token& stop);
  void serve(const std::stop_token& stop);
  void subscribe(Wire& wire, const net::Limits& limits);
  bool deliver(const Reply& reply) const;
  bool await(Wire& wire, bool only_look) const;  // whether something has come
  void write(Wire& wire, const std::stop_token& stop);
  bool read(Wire& wire);  // whether there may be more
  void answer(const Reply& reply);
  void giveUpLate();
  void keepAlive();
  void prove();
  void probe();
  void lose(const std::string& reason);
  void enter(LinkState state, const std::string& reason = {});
  void wake() const;

  LinkOptions options_;
  OnState on_state_;
  OnMessage on_message_;
  int wake_;  // an event descriptor
  std::atomic<LinkState> state_{LinkState::Away};
  std::atomic<std::size_t> failures_{0};
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  bool open_ = false;
  bool tried_ = false;
  std::string unwritten_;
  std::deque<Waiting> unsent_;
  std::size_t waiting_ = 0;  // unsent and unanswered
  // Of the thread only.
  std::deque<Waiting> unanswered_;
  std::optional<Clock::time_point> opened_;  // the connection at hand
  int brief_ = 0;                            // connections in a row that ended soon
  Clock::time_point last_sent_{};
  Clock::time_point next_look_{};
  std::jthread thread_;
};

}  // namespace aragora::redis
