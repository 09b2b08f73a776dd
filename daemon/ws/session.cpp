#include "daemon/ws/session.h"

#include <boost/asio/post.hpp>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/websocket.hpp>

#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::ws {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;

namespace {
constexpr std::size_t kMaxQueueBytes = 1U << 20;
constexpr std::size_t kMaxMessage = 64 * 1024;
constexpr std::int64_t kReplayBatch = 500;
constexpr auto kHoldBack = std::chrono::milliseconds(150);
constexpr auto kHeartbeat = std::chrono::seconds(15);
constexpr std::size_t kMaxSubscriptions = 100;

FramePtr controlFrame(json::object object) {
  auto frame = std::make_shared<Frame>();
  frame->text = toJson(object);
  return frame;
}
}  // namespace

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(net::ip::tcp::socket socket, IoShard& shard, std::function<void()> on_close)
      : stream_(std::move(socket)), shard_(shard), hold_back_(shard.context_), on_close_(std::move(on_close)) {
    shard_.sessions_.insert(this);
    ++shard_.count_;
  }
  ~Session() {
    shard_.sessions_.erase(this);
    for (const auto& [id, subscription] : subscriptions_) forget(id);
    --shard_.count_;
    on_close_();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start(IoShard::Request request, std::string debate_id, std::int64_t since, bool authenticated) {
    websocket::stream_base::timeout timeouts{std::chrono::seconds(10), std::chrono::seconds(60), true};
    stream_.set_option(timeouts);
    const auto offered = std::string(request[beast::http::field::sec_websocket_protocol]);
    stream_.set_option(websocket::stream_base::decorator([offered](websocket::response_type& response) {
      response.set(beast::http::field::server, "aragora");
      // A client that offers access_token.<token> expects one of its protocols back.
      if (!offered.empty())
        response.set(beast::http::field::sec_websocket_protocol, trim(offered.substr(0, offered.find(','))));
    }));
    stream_.read_message_max(kMaxMessage);
    stream_.auto_fragment(false);
    stream_.text(true);
    auto kept = std::make_shared<IoShard::Request>(std::move(request));
    stream_.async_accept(*kept, [self = shared_from_this(), kept, debate_id = std::move(debate_id), since,
                                 authenticated](beast::error_code error) {
      if (error) return;
      self->open_ = true;
      self->send(controlFrame(
          {{"type", "connection_info"},
           {"data",
            json::object{{"authenticated", authenticated}, {"client_id", newUlid()}, {"write_access", false}}}}));
      if (!debate_id.empty()) self->subscribe(debate_id, since);
      self->read();
    });
  }

  void send(FramePtr frame) {
    if (!open_) return;
    queued_bytes_ += frame->text.size();
    if (queued_bytes_ > kMaxQueueBytes) {
      shard_.services_.metrics.count("aragora_websocket_slow_clients_total");
      return drop();
    }
    queue_.push_back(std::move(frame));
    if (!writing_) write();
  }

  void live(const FramePtr& frame) {
    const auto found = subscriptions_.find(frame->debate_id);
    if (found == subscriptions_.end()) return;
    auto& subscription = found->second;
    if (subscription.replaying) {
      subscription.more = true;
    } else if (frame->seq == subscription.last_seq + 1) {
      subscription.last_seq = frame->seq;
      send(frame);
    } else if (frame->seq > subscription.last_seq) {
      replay(frame->debate_id);
    }
  }

  void close() {
    if (!open_) return drop();
    open_ = false;
    stream_.async_close(websocket::close_reason(websocket::close_code::going_away, "the server is stopping"),
                        [self = shared_from_this()](beast::error_code) {});
  }

 private:
  struct Subscription {
    std::int64_t last_seq = 0;
    bool replaying = false;
    bool more = false;  // something arrived while replaying
  };

  void drop() {
    open_ = false;
    beast::error_code ignored;
    stream_.next_layer().close(ignored);
  }

  void read() {
    stream_.async_read(buffer_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (error) {
        self->open_ = false;
        return;
      }
      const auto text = beast::buffers_to_string(self->buffer_.data());
      self->buffer_.consume(self->buffer_.size());
      self->shard_.services_.metrics.count("aragora_websocket_messages_total", {{"direction", "in"}});
      self->handle(text);
      if (self->open_) self->read();
    });
  }

  void handle(const std::string& text) {
    const auto value = tryParseJson(text);
    if (!value || !value->is_object()) return warn("INVALID_JSON", "send one JSON object a frame");
    const auto& message = value->get_object();
    const auto type = jsonTextOr(message, "type", "");
    const auto debate_id = jsonText(message, "debate_id").value_or(jsonTextOr(message, "loop_id", ""));
    if (type == "ping") {
      json::object pong{{"type", "pong"},
                        {"data", json::object{{"server_ts", static_cast<double>(nowMicros()) / 1e6}}}};
      if (const auto* ts = message.if_contains("ts")) pong["data"].as_object()["client_ts"] = *ts;
      send(controlFrame(std::move(pong)));
    } else if (type == "subscribe") {
      if (debate_id.empty()) return warn("MISSING_FIELD", "subscribe needs debate_id");
      subscribe(debate_id, jsonIntegerOr(message, "replay_from_seq", jsonIntegerOr(message, "since", 0)));
    } else if (type == "unsubscribe") {
      forget(debate_id);
      subscriptions_.erase(debate_id);
      send(controlFrame({{"type", "unsubscribed"}, {"debate_id", debate_id}}));
    } else {
      warn("INVALID_VALUE", fmt::format("unknown message type '{}'", printable(type, 40)));
    }
  }

  // Never a frame of type "error": clients end their stream at one.
  void warn(std::string_view code, const std::string& message) {
    send(controlFrame({{"type", "warning"}, {"data", json::object{{"code", code}, {"message", message}}}}));
  }

  void subscribe(const std::string& debate_id, std::int64_t since) {
    if (subscriptions_.size() >= kMaxSubscriptions)
      return warn("QUOTA_EXCEEDED", fmt::format("at most {} subscriptions a connection", kMaxSubscriptions));
    auto& subscription = subscriptions_[debate_id];
    subscription.last_seq = std::max<std::int64_t>(since, 0);
    shard_.subscribers_[debate_id].insert(this);
    send(controlFrame({{"type", "subscribed"},
                       {"debate_id", debate_id},
                       {"data", json::object{{"debate_id", debate_id}, {"from_seq", subscription.last_seq}}}}));
    if (!subscription.replaying) replay(debate_id);
  }

  void forget(const std::string& debate_id) {
    const auto found = shard_.subscribers_.find(debate_id);
    if (found == shard_.subscribers_.end()) return;
    found->second.erase(this);
    if (found->second.empty()) shard_.subscribers_.erase(found);
  }

  void replay(const std::string& debate_id) {
    auto& subscription = subscriptions_[debate_id];
    subscription.replaying = true;
    subscription.more = false;
    const bool accepted =
        shard_.services_.workers.post([self = shared_from_this(), debate_id, since = subscription.last_seq] {
          std::vector<FramePtr> frames;
          bool known = true;
          try {
            for (const auto& event : self->shard_.services_.debates.events(debate_id, since, kReplayBatch))
              frames.push_back(makeFrame(event));
            if (frames.empty() && since == 0) known = self->shard_.services_.debates.find(debate_id).has_value();
          } catch (const std::exception& error) {
            log::warning("replay of {} failed: {}", debate_id, error.what());
          }
          net::post(self->shard_.context_,
                    [self, debate_id, frames = std::move(frames), known] { self->replayed(debate_id, frames, known); });
        });
    if (!accepted) {
      subscription.replaying = false;
      warn("SERVICE_UNAVAILABLE", "the server is busy; subscribe again");
    }
  }

  void replayed(const std::string& debate_id, const std::vector<FramePtr>& frames, bool known) {
    const auto found = subscriptions_.find(debate_id);
    if (found == subscriptions_.end() || !open_) return;
    if (!known) {
      forget(debate_id);
      subscriptions_.erase(found);
      return warn("NOT_FOUND", fmt::format("there is no debate {}", printable(debate_id, 60)));
    }
    auto& subscription = found->second;
    subscription.replaying = false;
    for (const auto& frame : frames) {
      if (frame->seq <= subscription.last_seq) continue;
      subscription.last_seq = frame->seq;
      send(frame);
    }
    if (subscription.more || frames.size() == static_cast<std::size_t>(kReplayBatch)) replay(debate_id);
  }

  void write() {
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
                            self->open_ = false;
                            self->writing_ = false;
                            return;
                          }
                          self->queued_bytes_ -= self->queue_.front()->text.size();
                          self->queue_.pop_front();
                          self->write();
                        });
  }

  websocket::stream<net::ip::tcp::socket> stream_;
  IoShard& shard_;
  net::steady_timer hold_back_;
  std::function<void()> on_close_;
  beast::flat_buffer buffer_;
  std::deque<FramePtr> queue_;
  std::size_t queued_bytes_ = 0;
  bool open_ = false;
  bool writing_ = false;
  bool held_ = false;
  std::map<std::string, Subscription> subscriptions_;
};

IoShard::IoShard(net::io_context& context, ShardServices services)
    : context_(context), services_(services), heartbeat_timer_(context) {
  heartbeat();
}

void IoShard::deliver(FramePtr frame) {
  net::post(context_, [this, frame = std::move(frame)] {
    const auto found = subscribers_.find(frame->debate_id);
    if (found == subscribers_.end()) return;
    // A copy: a dropped client leaves the set while it is walked.
    const std::vector<Session*> sessions(found->second.begin(), found->second.end());
    for (auto* session : sessions) session->live(frame);
  });
}

void IoShard::closeAll() {
  net::post(context_, [this] {
    heartbeat_timer_.cancel();
    const std::vector<Session*> sessions(sessions_.begin(), sessions_.end());
    for (auto* session : sessions) session->close();
  });
}

void IoShard::accept(net::ip::tcp::socket socket, Request request, std::string debate_id, std::int64_t since,
                     bool authenticated, std::function<void()> on_close) {
  std::make_shared<Session>(std::move(socket), *this, std::move(on_close))
      ->start(std::move(request), std::move(debate_id), since, authenticated);
}

void IoShard::heartbeat() {
  heartbeat_timer_.expires_after(kHeartbeat);
  heartbeat_timer_.async_wait([this](beast::error_code error) {
    if (error) return;
    if (!sessions_.empty()) {
      const auto frame = controlFrame({{"type", "heartbeat"},
                                       {"data", json::object{{"server_time", static_cast<double>(nowMicros()) / 1e6},
                                                             {"active_debates", services_.active_debates()},
                                                             {"connected_clients", clients()}}}});
      const std::vector<Session*> sessions(sessions_.begin(), sessions_.end());
      for (auto* session : sessions) session->send(frame);
    }
    heartbeat();
  });
}

}  // namespace aragora::ws
