// What a connection reads and writes: a socket, with TLS over it or without; an AsyncStream as Asio and Beast want one,
// for callbacks. Which of the two it is costs one comparison an operation. Lives in its I/O thread; moved only while
// nothing is under way.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/beast/websocket/teardown.hpp>

#include <memory>

#include "daemon/edge/tls.h"

namespace aragora::edge {

class Stream {
 public:
  using next_layer_type = boost::asio::ip::tcp::socket;
  using executor_type = next_layer_type::executor_type;
  using error_code = boost::system::error_code;

  // Plain without a session.
  explicit Stream(next_layer_type socket, std::shared_ptr<TlsSession> tls = nullptr);
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&&) = delete;
  ~Stream();

  executor_type get_executor() { return socket_.get_executor(); }
  next_layer_type& next_layer() { return socket_; }
  bool secure() const { return tls_ != nullptr; }
  // Before or after a failed handshake: what is said from now on is not encrypted.
  void becomePlain();
  bool clientIsPlain() const { return tls_ && tls_->clientIsPlain(); }
  bool is_open() const { return socket_.is_open(); }
  void close(error_code& error) { socket_.close(error); }
  // close_notify, where TLS is spoken.
  void sayGoodbye();
  // No more is sent; reading goes on.
  void endSending();

  template <typename Handler>
  void async_handshake(Handler&& handler) {
    perform([](TlsSession& tls) { return tls.handshake(); },
            [handler = std::forward<Handler>(handler)](error_code error, std::size_t) mutable { handler(error); });
  }

  template <typename Buffers, typename Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    if (!tls_) {
      socket_.async_read_some(buffers, std::forward<Handler>(handler));
      return;
    }
    perform([buffers](TlsSession& tls) { return readInto(tls, buffers); }, std::forward<Handler>(handler));
  }

  template <typename Buffers, typename Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    if (!tls_) {
      socket_.async_write_some(buffers, std::forward<Handler>(handler));
      return;
    }
    perform([buffers](TlsSession& tls) { return writeFrom(tls, buffers); }, std::forward<Handler>(handler));
  }

  // What the socket takes at once: a last word.
  template <typename Buffers>
  void writeAtOnce(const Buffers& buffers) {
    error_code ignored;
    socket_.non_blocking(true, ignored);
    if (tls_)
      writeFrom(*tls_, buffers);
    else
      socket_.write_some(buffers, ignored);
  }

 private:
  // Tries, and as often as the session asks for it waits for the socket and tries again. Holds the session and nothing
  // else of the stream, which may be gone when the wait ends.
  template <typename Attempt>
  struct Operation {
    std::shared_ptr<TlsSession> tls;  // shared with the stream
    Attempt attempt;
    TlsStep step{};
    bool suspended = false;
    bool done = false;

    template <typename Self>
    void operator()(Self& self, error_code error = {}) {
      if (done) return self.complete(step.error, step.bytes);
      auto* socket = tls->socket;
      if (!error && (socket == nullptr || !socket->is_open())) error = boost::asio::error::operation_aborted;
      if (error) return finish(self, {TlsStep::Wants::Nothing, error, 0});
      const auto tried = attempt(*tls);
      if (tried.wants == TlsStep::Wants::Nothing) return finish(self, tried);
      suspended = true;
      const auto ready =
          tried.wants == TlsStep::Wants::Reading ? next_layer_type::wait_read : next_layer_type::wait_write;
      socket->async_wait(ready, std::move(self));
    }

    // Never from within the call that began it.
    template <typename Self>
    void finish(Self& self, const TlsStep& last) {
      if (suspended) return self.complete(last.error, last.bytes);
      step = last;
      done = true;
      auto executor = self.get_executor();
      boost::asio::post(executor, std::move(self));
    }
  };

  template <typename Attempt, typename Handler>
  void perform(Attempt attempt, Handler&& handler) {
    std::decay_t<Handler> token(std::forward<Handler>(handler));
    boost::asio::async_compose<std::decay_t<Handler>, void(error_code, std::size_t)>(
        Operation<Attempt>{tls_, std::move(attempt)}, token, socket_);
  }

  template <typename Buffers>
  static TlsStep readInto(TlsSession& tls, const Buffers& buffers) {
    for (auto part = boost::asio::buffer_sequence_begin(buffers); part != boost::asio::buffer_sequence_end(buffers);
         ++part) {
      const boost::asio::mutable_buffer one(*part);
      if (one.size() > 0) return tls.read(one.data(), one.size());
    }
    return {};
  }

  // Small parts go into one record: a head and its body, a frame's head and its text.
  template <typename Buffers>
  static TlsStep writeFrom(TlsSession& tls, const Buffers& buffers) {
    for (auto part = boost::asio::buffer_sequence_begin(buffers); part != boost::asio::buffer_sequence_end(buffers);
         ++part) {
      const boost::asio::const_buffer one(*part);
      if (one.size() >= kRecord || (one.size() > 0 && one.size() == boost::asio::buffer_size(buffers)))
        return tls.write(one.data(), one.size());
      if (one.size() > 0) break;
    }
    return tls.write(gathered(), boost::asio::buffer_copy(boost::asio::buffer(gathered(), kRecord), buffers));
  }

  // Made by the first who writes in a thread. As an array it was part of every thread's stack, once for each kind of
  // buffers: 180 KiB for each of thousands that hold a provider call.
  static char* gathered() {
    thread_local const auto room = std::make_unique<char[]>(kRecord);
    return room.get();
  }

  static constexpr std::size_t kRecord = 16 * 1024;  // RFC 8446 section 5.1
  next_layer_type socket_;
  std::shared_ptr<TlsSession> tls_;  // shared with operations under way
};

// What Beast ends a WebSocket with.
template <typename Handler>
void async_teardown(boost::beast::role_type role, Stream& stream, Handler&& handler) {
  stream.sayGoodbye();
  boost::beast::websocket::async_teardown(role, stream.next_layer(), std::forward<Handler>(handler));
}
void teardown(boost::beast::role_type role, Stream& stream, boost::system::error_code& error);

}  // namespace aragora::edge
