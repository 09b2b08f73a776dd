#include "daemon/edge/stream.h"

namespace aragora::edge {

Stream::Stream(next_layer_type socket, std::shared_ptr<TlsSession> tls)
    : socket_(std::move(socket)), tls_(std::move(tls)) {
  if (tls_) tls_->socket = &socket_;
}

Stream::Stream(Stream&& other) noexcept : socket_(std::move(other.socket_)), tls_(std::move(other.tls_)) {
  if (tls_) tls_->socket = &socket_;
}

Stream::~Stream() { becomePlain(); }

void Stream::becomePlain() {
  if (tls_) tls_->socket = nullptr;
  tls_.reset();
}

void Stream::sayGoodbye() {
  if (tls_ && socket_.is_open()) tls_->sayGoodbye();
}

void Stream::endSending() {
  error_code ignored;
  sayGoodbye();
  socket_.shutdown(next_layer_type::shutdown_send, ignored);
}

void teardown(boost::beast::role_type role, Stream& stream, boost::system::error_code& error) {
  stream.sayGoodbye();
  boost::beast::websocket::teardown(role, stream.next_layer(), error);
}

}  // namespace aragora::edge
