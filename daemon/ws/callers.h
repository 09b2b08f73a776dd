// Private to daemon/ws: whose sessions and keys opened the sockets here, and the thread that asks the database once a
// second which of them have ended, wherever they did. A thread of its own, since the workers' queue is longest when it
// matters. While it could not be asked for two seconds nobody knows who may still listen: sockets stay open, and what
// is new waits (see Session::unsure). Thread-safe; kept by the hub and by its shards.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "common/base/interrupt.h"
#include "daemon/web/authenticator.h"

namespace aragora::ws {

// What may end of a caller: a session under a version of its user's tokens, or a key.
using Credential = std::pair<std::string, std::int64_t>;
// Empty for those that the configuration names: nobody ends them.
Credential credentialOf(const accounts::Principal& caller);

class Callers : public std::enable_shared_from_this<Callers> {
 public:
  using Ended = std::function<void(const std::set<Credential>&)>;
  // The authenticator outlives the thread. `ended` is called in it.
  Callers(const web::Authenticator& authenticator, Ended ended)
      : authenticator_(authenticator), ended_(std::move(ended)) {}
  ~Callers() { stop(); }

  void start();
  void stop();
  // It is asked about until the last holder lets go; null for whom nobody ends.
  std::shared_ptr<void> enter(const accounts::Principal& caller);
  // Whether it is too long ago that it was known who may be here.
  bool overdue() const { return Clock::now() - looked_.load() > kPromise; }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kPromise = std::chrono::seconds(2);
  struct Shown {
    accounts::Principal caller;
    std::size_t holders = 0;
  };
  void look();
  void leave(const Credential& credential);

  const web::Authenticator& authenticator_;
  Ended ended_;
  std::mutex mutex_;
  std::map<Credential, Shown> shown_;
  std::atomic<Clock::time_point> looked_{Clock::now()};
  interrupt::Switch stopping_;
  std::jthread thread_;
};

}  // namespace aragora::ws
