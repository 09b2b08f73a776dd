// One WebSocket client and the shard of its I/O thread. Everything here runs in that thread only. Beast stays inside
// daemon/ws and daemon/http/listener.cpp.
//
// A subscription replays from its last seen number and then follows; a live event that does not follow directly starts
// a replay, so nothing is missed and nothing comes twice. A client whose queue passes 1 MiB is dropped. `debate_end`
// waits 150 ms after the frame before it, because a widely used client stops reading at it and drops what came in one
// burst.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "daemon/edge/worker_pool.h"
#include "daemon/ws/hub.h"

namespace aragora::ws {

class Session;

struct ShardServices {
  store::Debates& debates;
  edge::WorkerPool& workers;
  metrics::Registry& metrics;
  std::function<std::size_t()> active_debates;
};

class IoShard : public Shard {
 public:
  IoShard(boost::asio::io_context& context, ShardServices services);

  void deliver(FramePtr frame) override;
  std::size_t clients() const override { return count_.load(std::memory_order_relaxed); }
  void closeAll() override;

  using Request = boost::beast::http::request<boost::beast::http::string_body>;
  // Takes the socket over. `debate_id` and `since` come from the query, empty for none.
  void accept(boost::asio::ip::tcp::socket socket, Request request, std::string debate_id, std::int64_t since,
              bool authenticated, std::function<void()> on_close);

 private:
  friend class Session;
  void heartbeat();
  boost::asio::io_context& context_;
  ShardServices services_;
  boost::asio::steady_timer heartbeat_timer_;
  std::unordered_set<Session*> sessions_;
  std::unordered_map<std::string, std::unordered_set<Session*>> subscribers_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace aragora::ws
