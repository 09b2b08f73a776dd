#include "daemon/edge/connection.h"

namespace aragora::edge {

namespace {
constexpr auto kSweep = std::chrono::seconds(1);
constexpr auto kPauseAfterFailure = std::chrono::milliseconds(100);
}  // namespace

Door::Door(IoThreads::Context& context, std::size_t thread, std::shared_ptr<Shared> shared)
    : context_(context),
      thread_(thread),
      shared_(std::move(shared)),
      acceptor_(context),
      sweep_timer_(context),
      pause_(context) {}

void Door::open() {
  accept();
  sweep();
}

void Door::accept() {
  acceptor_.async_accept([self = shared_from_this()](beast::error_code error, net::ip::tcp::socket socket) {
    if (error == net::error::operation_aborted || self->closed_) return;
    auto& shared = *self->shared_;
    if (!error && !shared.draining && shared.connections < shared.options.max_connections)
      std::make_shared<Connection>(std::move(socket), self)->start();
    if (!error) return self->accept();
    // Out of descriptors, most likely: take a breath instead of spinning.
    self->pause_.expires_after(kPauseAfterFailure);
    self->pause_.async_wait([self](beast::error_code ended) {
      if (!ended && !self->closed_) self->accept();
    });
  });
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
  acceptor_.close(ignored);
  pause_.cancel();
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
