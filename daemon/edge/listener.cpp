#include "daemon/edge/listener.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/post.hpp>

#include "common/base/error.h"
#include "daemon/edge/connection.h"

namespace aragora::edge {

using tcp = net::ip::tcp;

namespace {
constexpr int kBacklog = 4096;

net::ip::address addressOf(const std::string& host) {
  beast::error_code error;
  auto address = net::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
  if (error)
    throw Error(Code::Config, fmt::format("ARAGORA_BIND_HOST: {} is not an address", host),
                "use an IP address such as 127.0.0.1 or 0.0.0.0");
  return address;
}

[[noreturn]] void throwTaken(const std::string& host, std::uint16_t port, const beast::error_code& error) {
  throw Error(Code::CannotCreate, fmt::format("cannot listen on {}:{}: {}", host, port, error.message()),
              "another process has the port: ss -ltnp; or set ARAGORA_PORT");
}

// SO_REUSEPORT would let two daemons share a port silently: ask with a plain bind first.
void requireFreePort(const ListenerOptions& options, const net::ip::address& address) {
  if (options.port == 0) return;
  beast::error_code error;
  net::io_context context;
  tcp::acceptor probe(context);
  probe.open(tcp::endpoint(address, options.port).protocol());
  probe.set_option(net::socket_base::reuse_address(true));
  probe.bind(tcp::endpoint(address, options.port), error);
  if (!error) probe.listen(1, error);
  if (error) throwTaken(options.bind_host, options.port, error);
}

void bindShared(tcp::acceptor& acceptor, const tcp::endpoint& endpoint, const std::string& host) {
  using ReusePort = net::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
  beast::error_code error;
  acceptor.open(endpoint.protocol());
  ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  acceptor.set_option(net::socket_base::reuse_address(true));
  acceptor.set_option(ReusePort(true));
  acceptor.bind(endpoint, error);
  if (error) throwTaken(host, endpoint.port(), error);
  acceptor.listen(kBacklog);
}
}  // namespace

Listener::Listener(const ListenerOptions& options, IoThreads& io, Site& site, WorkerPool& workers)
    : shared_(std::make_shared<Shared>(options, site, workers)) {
  for (std::size_t i = 0; i < io.size(); ++i) doors_.push_back(std::make_shared<Door>(io.context(i), i, shared_));
  bind(options);
}

Listener::~Listener() = default;

void Listener::bind(const ListenerOptions& options) {
  const auto& inherited = options.inherited_sockets;
  const auto address = addressOf(options.bind_host);
  port_ = options.port;
  if (inherited.empty()) requireFreePort(options, address);
  for (auto& door : doors_) {
    auto& acceptor = door->acceptor();
    if (inherited.empty())
      bindShared(acceptor, tcp::endpoint(address, port_), options.bind_host);
    else  // one socket from systemd, one descriptor for each thread
      acceptor.assign(tcp::v4(), ::fcntl(inherited[door->thread() % inherited.size()], F_DUPFD_CLOEXEC, 3));
    port_ = acceptor.local_endpoint().port();
  }
}

void Listener::start() {
  for (auto& door : doors_) net::post(door->context(), [door] { door->open(); });
}

std::size_t Listener::connections() const { return shared_->connections; }

void Listener::stopAccepting() {
  shared_->draining = true;
  for (auto& door : doors_) net::post(door->context(), [door] { door->closeIdle(); });
}

bool Listener::waitUntilIdle(Deadline deadline) {
  while (shared_->busy > 0) {
    if (remaining(deadline).count() == 0) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

void Listener::closeAll() {
  shared_->draining = true;
  for (auto& door : doors_) net::post(door->context(), [door] { door->closeAll(); });
}

}  // namespace aragora::edge
