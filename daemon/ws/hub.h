// WebSocket clients and the fan-out of debate events to them. publish() is called once an event is durable, from any
// thread; it renders only what somebody watches, once, and hands it over once for each I/O thread, not for each client.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "common/metrics/metrics.h"
#include "daemon/edge/io_threads.h"
#include "daemon/edge/worker_pool.h"
#include "daemon/web/authenticator.h"
#include "daemon/web/rate_limiter.h"
#include "daemon/web/router.h"
#include "daemon/ws/frame.h"

namespace aragora::ws {

struct HubOptions {
  std::size_t sockets_per_address = 100;   // a /64 for IPv6; 0 is no limit
  std::size_t sockets_per_account = 100;   // of user sessions; 0 is no limit
  std::int64_t messages_per_minute = 600;  // from one client; 0 is no limit
};

class Callers;

struct HubServices {
  store::Debates& debates;
  edge::WorkerPool& workers;
  metrics::Registry& metrics;
  const web::Authenticator& authenticator;
  std::function<std::size_t()> active_debates;
  // Credentials that came in a message and were refused.
  std::function<void(const std::string& address, const std::string& request_id)> refused;
  // Somebody begins to listen to the answers of a debate as they are made, and nobody did; in an I/O thread.
  std::function<void(const std::string& debate_id)> listened = {};
  // The hub's own: a place among the sockets of an account; nullptr when there are too many.
  std::function<std::shared_ptr<void>(const accounts::Principal&)> place_of = {};
  std::shared_ptr<Callers> callers = {};  // the hub's own, with the shards
};

class Shard;

// How many clients watch each debate. Thread-safe. `first` is told of a debate that nobody watched before.
class Watched {
 public:
  explicit Watched(std::function<void(const std::string& debate_id)> first = {}) : first_(std::move(first)) {}
  void add(const std::string& debate_id);
  void remove(const std::string& debate_id);
  bool any(const std::string& debate_id) const;
  std::vector<std::string> all() const;

 private:
  std::function<void(const std::string&)> first_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::size_t> count_;
};

class Hub {
 public:
  // All of them outlive it.
  Hub(HubOptions options, HubServices services, edge::IoThreads& io);
  ~Hub();

  // GET /ws: the same way as every other request until its connection is taken over.
  void addRoute(web::Router& router);
  void start();  // looking whose sessions end
  void publish(const store::Event& event);
  // A part of an answer, from any thread: to those who asked to hear them, as far as they keep up. Never waits.
  void speak(const wire::Delta& delta);
  bool watches(const std::string& debate_id) const { return watched_->any(debate_id); }
  std::vector<std::string> watched() const { return watched_->all(); }
  std::vector<std::string> listened() const { return heard_->all(); }  // to answers as they are made
  std::size_t clients() const;
  void closeAll();  // with 1001, going away; nobody is taken any more
  void dropAll();   // without a word: the contexts have nothing more to do for us

 private:
  struct Places {
    std::mutex mutex;
    std::unordered_map<std::string, std::size_t> taken;
  };
  web::Response open(const web::Request& request);
  // Counted until the last holder lets go; nullptr when there are too many for `key`.
  static std::shared_ptr<void> enter(const std::shared_ptr<Places>& places, const web::LimitKey& key, std::size_t most);
  static std::shared_ptr<void> enterAccount(const std::shared_ptr<Places>& places, const accounts::Principal& principal,
                                            std::size_t most);

  HubOptions options_;
  std::shared_ptr<Callers> callers_;            // with the shards
  std::shared_ptr<Watched> watched_;            // with the shards, which outlive the hub while clients leave
  std::shared_ptr<Watched> heard_;              // the same, of those who want answers as they are made
  std::vector<std::shared_ptr<Shard>> shards_;  // with the sessions
  std::shared_ptr<Places> places_ = std::make_shared<Places>();  // with whoever holds a place
};

}  // namespace aragora::ws
