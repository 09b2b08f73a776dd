// The other instances on the same database, as far as Redis knows them: tells them hints and hears theirs, says that
// this one lives, and knows how many there are. Redis may be away, slow or empty at any time: then nothing is heard,
// the log says so once, and whoever needs to know reads the database instead. Without a Redis it does nothing.
// Thread-safe; only tellAndWait() waits.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>

#include "common/redis/script.h"
#include "daemon/cluster/hint.h"

namespace aragora::cluster {

struct SistersOptions {
  std::optional<redis::Address> redis{};  // none: alone, or all of them by the database
  std::string prefix{};                   // of keys and channels: one for each database
  std::string instance{};
};

// What an instance says of itself; JSON text for whoever shows it.
using Instances = std::vector<std::string>;

class Sisters {
 public:
  // All are called in threads of Redis links, and must not wait. `listening` is told when hints begin to come or
  // cease to, `speech` what comes for this instance that is no hint.
  Sisters(SistersOptions options, std::function<void(const Heard&)> heard, std::function<void(bool)> listening,
          std::function<void(const std::string& line)> speech = {});
  ~Sisters() { stop(); }

  // Connects, and returns once that succeeded or failed.
  void start();
  void stop();

  bool configured() const { return options_.redis.has_value(); }
  // Of both connections, the worse one.
  redis::LinkState state() const;
  // Connections that were lost or could not be made, since the start.
  std::uint64_t connectionErrors() const { return connection_errors_; }
  void tell(const Hint& hint);
  // Until all who listen have minded it: what a client does next, at another instance, finds it so. At most for a
  // moment, not while Redis is slow or away, nor just after one that listens did not.
  void tellAndWait(Hint hint);
  // Twice a second or so. `about` is JSON.
  void beat(const std::string& about);
  // Those that lived when it was last known, this one included; at least one.
  std::size_t alive() const { return std::max<std::size_t>(alive_, 1); }
  Instances instances() const;
  // For commands of others; nullptr without a Redis.
  redis::Link* link() { return speaking_.get(); }
  std::string key(std::string_view name) const { return options_.prefix + ":" + std::string(name); }
  // Where an instance hears speech.
  std::string speechChannel(const std::string& instance) const { return key("speech:" + instance); }

 private:
  using Clock = std::chrono::steady_clock;
  // How many have minded a hint, of how many that listen.
  struct Ticket {
    std::int64_t minded = 0;
    std::optional<std::int64_t> listeners;
  };

  bool publish(std::string_view channel, const Hint& hint, redis::Link::Done done);
  void hear(const std::string& line);
  void await(std::unique_lock<std::mutex>& lock, std::int64_t ticket);
  void noteState(redis::LinkState state, const std::string& reason);
  void tellState();

  SistersOptions options_;
  std::function<void(const Heard&)> heard_;
  std::function<void(bool)> on_listening_;
  std::function<void(const std::string&)> speech_;
  redis::Script beat_;
  std::atomic<std::size_t> alive_{0};
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> connection_errors_{0};
  mutable std::mutex mutex_;
  std::condition_variable minded_;
  std::map<std::int64_t, Ticket> tickets_;  // that somebody waits for
  std::int64_t last_ticket_ = 0;
  Clock::time_point no_waiting_until_{};
  bool settled_ = false;  // both have tried to connect
  bool told_works_ = true;
  std::optional<Clock::time_point> slow_since_;
  std::string reason_;  // the last
  Instances instances_;
  std::unique_ptr<redis::Link> speaking_;
  std::unique_ptr<redis::Link> listening_;
};

}  // namespace aragora::cluster
