#include "daemon/edge/connection.h"

namespace aragora::edge {

namespace {
constexpr auto kSweep = std::chrono::seconds(1);
constexpr auto kPauseAfterFailure = std::chrono::milliseconds(100);
}  // namespace

Door::Door(IoThreads::Context& context, std::size_t thread, std::shared_ptr<Shared> shared)
    : context_(context), thread_(thread), shared_(std::move(shared)), sweep_timer_(context) {}

net::ip::tcp::acceptor& Door::add(const Entrance& entrance) {
  gates_.push_back(std::make_unique<Gate>(context_, entrance));
  return gates_.back()->acceptor;
}

void Door::open() {
  for (auto& gate : gates_) accept(*gate);
  sweep();
}

void Door::accept(Gate& gate) {
  gate.acceptor.async_accept([self = shared_from_this(), &gate](beast::error_code error, net::ip::tcp::socket socket) {
    if (error == net::error::operation_aborted || self->closed_) return;
    if (!error) {
      self->welcome(std::move(socket), gate.entrance);
      return self->accept(gate);
    }
    // Out of descriptors, most likely: take a breath instead of spinning.
    gate.pause.expires_after(kPauseAfterFailure);
    gate.pause.async_wait([self, &gate](beast::error_code ended) {
      if (!ended && !self->closed_) self->accept(gate);
    });
  });
}

void Door::welcome(net::ip::tcp::socket socket, const Entrance& entrance) {
  if (shared_->draining || shared_->connections >= shared_->options.max_connections) return;
  std::shared_ptr<TlsSession> tls;  // shared with operations of the stream
  if (entrance.tls != nullptr) {
    beast::error_code failed;
    socket.native_non_blocking(true, failed);
    tls = entrance.tls->accept(socket.native_handle());
  }
  std::make_shared<Connection>(Stream(std::move(socket), std::move(tls)), shared_from_this(), entrance)->start();
}

void Door::sweep() {
  sweep_timer_.expires_after(kSweep);
  sweep_timer_.async_wait([self = shared_from_this()](beast::error_code error) {
    if (error) return;
    const auto now = std::chrono::steady_clock::now();
    // A copy: a closed connection leaves the set while it is walked.
    const std::vector<Connection*> all(self->connections_.begin(), self->connections_.end());
    for (auto* connection : all) connection->checkDeadline(now);
    self->sweep();
  });
}

void Door::stopAccepting() {
  beast::error_code ignored;
  closed_ = true;
  for (auto& gate : gates_) {
    gate->acceptor.close(ignored);
    gate->pause.cancel();
  }
}

void Door::closeIdle() {
  stopAccepting();
  const std::vector<Connection*> all(connections_.begin(), connections_.end());
  for (auto* connection : all) {
    if (connection->idle()) connection->close();
  }
}

void Door::closeAll() {
  stopAccepting();
  sweep_timer_.cancel();
  const std::vector<Connection*> all(connections_.begin(), connections_.end());
  for (auto* connection : all) connection->close();
}

}  // namespace aragora::edge
