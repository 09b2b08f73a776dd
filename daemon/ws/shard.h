// Private to daemon/ws: the clients of one I/O thread. Everything but deliver(), speak(), clients(), closeAll(),
// dropAll() and end() runs in that thread. Kept by the hub and by its sessions.
#pragma once

#include <boost/asio/steady_timer.hpp>

#include <deque>
#include <unordered_set>

#include "daemon/ws/callers.h"
#include "daemon/ws/counters.h"
#include "daemon/ws/hub.h"

namespace aragora::ws {

class Session;

class Shard : public std::enable_shared_from_this<Shard> {
 public:
  Shard(edge::IoThreads::Context& context, HubOptions options, HubServices services, std::shared_ptr<Watched> watched,
        std::shared_ptr<Watched> heard);

  void start();
  void deliver(FramePtr frame);
  // Parts that come while the thread is busy become one; what is more than fits is lost.
  void speak(const wire::Delta& delta);
  std::size_t clients() const { return count_.load(std::memory_order_relaxed); }
  void closeAll();
  void dropAll();
  // Whose session or key has ended, here or elsewhere, is let go.
  void end(const std::set<Credential>& gone);

  edge::IoThreads::Context& context() { return context_; }
  const HubServices& services() const { return services_; }
  const HubOptions& options() const { return options_; }
  const Counters& counters() const { return counters_; }
  void enter(Session& session);
  void leave(Session& session);
  void watch(const std::string& debate_id, Session& session);
  void forget(const std::string& debate_id, Session& session);
  void listen(const std::string& debate_id, Session& session);  // to answers as they are made

 private:
  void tellDeltas();
  void heartbeat();
  // Every second: whose time is over, and who lingers.
  void sweep();

  edge::IoThreads::Context& context_;
  HubOptions options_;
  HubServices services_;
  Counters counters_;
  std::shared_ptr<Watched> watched_;  // with the hub
  std::shared_ptr<Watched> heard_;    // with the hub
  boost::asio::steady_timer heartbeat_timer_;
  boost::asio::steady_timer sweep_timer_;
  std::unordered_set<Session*> sessions_;
  std::unordered_map<std::string, std::unordered_set<Session*>> subscribers_;
  std::unordered_map<std::string, std::unordered_set<Session*>> listeners_;
  std::atomic<std::size_t> count_{0};
  std::mutex deltas_mutex_;
  std::deque<wire::Delta> deltas_;  // to be told; with as many bytes
  std::size_t deltas_bytes_ = 0;
};

}  // namespace aragora::ws
