#include "daemon/edge/listener.h"

#include <unistd.h>

#include <boost/asio/post.hpp>

#include <future>

#include "daemon/edge/connection.h"

namespace aragora::edge {

using tcp = net::ip::tcp;

struct Listener::Impl {
  ListenerOptions options;
  Shared shared;
  std::vector<std::unique_ptr<IoThread>> threads;
  std::uint16_t port = 0;

  Impl(const ListenerOptions& given, web::Guard& middleware, WorkerPool& workers)
      : options(given), shared{options, middleware, workers} {}

  void openAcceptors() {
    beast::error_code error;
    const auto address =
        net::ip::make_address(options.bind_host == "localhost" ? "127.0.0.1" : options.bind_host, error);
    if (error)
      throw Error(Code::Config, fmt::format("ARAGORA_BIND_HOST: {} is not an address", options.bind_host),
                  "use an IP address such as 127.0.0.1 or 0.0.0.0");
    port = options.port;
    for (std::size_t i = 0; i < threads.size(); ++i) {
      auto& acceptor = threads[i]->acceptor;
      if (!options.inherited_sockets.empty()) {
        // One socket from systemd, one descriptor for each thread.
        acceptor.assign(tcp::v4(), ::dup(options.inherited_sockets[i % options.inherited_sockets.size()]));
        port = acceptor.local_endpoint().port();
        continue;
      }
      const tcp::endpoint endpoint(address, port);
      acceptor.open(endpoint.protocol());
      acceptor.set_option(net::socket_base::reuse_address(true));
      using ReusePort = net::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
      acceptor.set_option(ReusePort(true));
      acceptor.bind(endpoint, error);
      if (error)
        throw Error(Code::CannotCreate,
                    fmt::format("cannot listen on {}:{}: {}", options.bind_host, port, error.message()),
                    "another process has the port: ss -ltnp; or set ARAGORA_PORT");
      acceptor.listen(4096);
      port = acceptor.local_endpoint().port();
    }
  }

  // SO_REUSEPORT would let two daemons share a port silently: ask with a plain bind first.
  void requireFreePort() const {
    if (!options.inherited_sockets.empty() || options.port == 0) return;
    beast::error_code error;
    const auto address =
        net::ip::make_address(options.bind_host == "localhost" ? "127.0.0.1" : options.bind_host, error);
    if (error) return;
    net::io_context context;
    tcp::acceptor probe(context);
    probe.open(tcp::endpoint(address, options.port).protocol());
    probe.set_option(net::socket_base::reuse_address(true));
    probe.bind(tcp::endpoint(address, options.port), error);
    if (!error) probe.listen(1, error);
    if (error)
      throw Error(Code::CannotCreate,
                  fmt::format("cannot listen on {}:{}: {}", options.bind_host, options.port, error.message()),
                  "another process has the port: ss -ltnp; or set ARAGORA_PORT");
  }
};

Listener::Listener(const ListenerOptions& options, web::Guard& middleware, WorkerPool& workers, ws::Hub& hub,
                   store::Debates& debates, metrics::Registry& metrics, std::function<std::size_t()> active_debates)
    : impl_(std::make_unique<Impl>(options, middleware, workers)) {
  const ws::ShardServices services{debates, workers, metrics, std::move(active_debates)};
  for (std::size_t i = 0; i < options.threads; ++i) {
    impl_->threads.push_back(std::make_unique<IoThread>(impl_->shared, services));
    hub.add(impl_->threads.back()->shard);
  }
  impl_->requireFreePort();
  impl_->openAcceptors();
}

Listener::~Listener() { stop(); }

void Listener::start() {
  for (auto& io : impl_->threads) {
    io->accept();
    io->sweep();
    io->thread = std::thread([&io] { io->context.run(); });
  }
}

std::uint16_t Listener::port() const { return impl_->port; }
std::size_t Listener::connections() const { return impl_->shared.connections; }

bool Listener::responsive(std::chrono::milliseconds within) {
  const auto deadline = deadlineIn(within);
  for (auto& io : impl_->threads) {
    auto answered = std::make_shared<std::promise<void>>();
    auto future = answered->get_future();
    net::post(io->context, [answered] { answered->set_value(); });
    if (future.wait_until(deadline) != std::future_status::ready) return false;
  }
  return true;
}

void Listener::stopAccepting() {
  impl_->shared.draining = true;
  for (auto& io : impl_->threads) {
    net::post(io->context, [&io] {
      beast::error_code ignored;
      io->acceptor.close(ignored);
      io->closeIdle();
    });
  }
}

bool Listener::waitUntilIdle(Deadline deadline) {
  while (impl_->shared.busy > 0) {
    if (remaining(deadline).count() == 0) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

void Listener::stop() {
  for (auto& io : impl_->threads) io->context.stop();
  for (auto& io : impl_->threads) {
    if (io->thread.joinable()) io->thread.join();
  }
}

}  // namespace aragora::edge
