#include "daemon/edge/listener.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/ip/v6_only.hpp>
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
    throw Error(Code::Config, fmt::format("{} is not an address to listen on", host),
                "use an IP address such as 127.0.0.1 or 0.0.0.0");
  return address;
}

[[noreturn]] void throwTaken(const std::string& where, const beast::error_code& error) {
  throw Error(Code::CannotCreate, fmt::format("cannot listen on {}: {}", where, error.message()),
              "see who has the port: ss -ltnp; or choose another: ARAGORA_PORT, ARAGORA_LISTEN");
}

// SO_REUSEPORT would let two daemons share a port silently: ask with a plain bind first.
void requireFreePort(const tcp::endpoint& endpoint, bool alone, const std::string& where) {
  if (endpoint.port() == 0) return;
  beast::error_code error;
  net::io_context context;
  tcp::acceptor probe(context);
  probe.open(endpoint.protocol(), error);
  if (!error) probe.set_option(net::socket_base::reuse_address(true), error);
  if (!error && alone) probe.set_option(net::ip::v6_only(true), error);
  if (!error) probe.bind(endpoint, error);
  if (!error) probe.listen(1, error);
  if (error) throwTaken(where, error);
}

void bindShared(tcp::acceptor& acceptor, const tcp::endpoint& endpoint, bool alone, const std::string& where) {
  using ReusePort = net::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
  beast::error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (error) throwTaken(where, error);
  ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
  acceptor.set_option(net::socket_base::reuse_address(true));
  acceptor.set_option(ReusePort(true));
  if (alone) acceptor.set_option(net::ip::v6_only(true));
  acceptor.bind(endpoint, error);
  if (error) throwTaken(where, error);
  acceptor.listen(kBacklog);
}
}  // namespace

Listener::Listener(const ListenerOptions& options, IoThreads& io, Site& site, WorkerPool& workers)
    : shared_(std::make_shared<Shared>(options, workers)) {
  for (std::size_t i = 0; i < io.size(); ++i) doors_.push_back(std::make_shared<Door>(io.context(i), i, shared_));
  for (auto& entrance : shared_->options.entrances) {
    if (entrance.site == nullptr) entrance.site = &site;
    bind(entrance);
  }
}

Listener::~Listener() = default;

void Listener::bind(Entrance& entrance) {
  if (entrance.inherited >= 0) return share(entrance, entrance.inherited);
  if (!entrance.address.local()) return bindTcp(entrance);
  local_sockets_.emplace_back(entrance.address.path, kBacklog);
  share(entrance, local_sockets_.back().descriptor());
}

void Listener::bindTcp(Entrance& entrance) {
  tcp::endpoint endpoint(addressOf(entrance.address.host), entrance.address.port);
  const auto where = entrance.address.text();
  const auto& all = shared_->options.entrances;
  // [::] takes IPv4 too, unless that is listed beside it.
  const bool alone = endpoint.address().is_v6() && std::any_of(all.begin(), all.end(), [&](const Entrance& other) {
                       return &other != &entrance && other.address.port == endpoint.port() && !other.address.local();
                     });
  requireFreePort(endpoint, alone, where);
  for (auto& door : doors_) {
    auto& acceptor = door->add(entrance);
    bindShared(acceptor, endpoint, alone, where);
    endpoint.port(acceptor.local_endpoint().port());
  }
  entrance.address.port = endpoint.port();
  if (port_ == 0) port_ = endpoint.port();
}

// One socket, one descriptor for each thread. What family it is of matters to nobody but the kernel.
void Listener::share(const Entrance& entrance, int descriptor) {
  for (auto& door : doors_) {
    auto& acceptor = door->add(entrance);
    acceptor.assign(tcp::v4(), ::fcntl(descriptor, F_DUPFD_CLOEXEC, 3));
    beast::error_code local;
    if (const auto endpoint = acceptor.local_endpoint(local);
        !local && port_ == 0 && endpoint.data()->sa_family != AF_UNIX)
      port_ = endpoint.port();
  }
}

void Listener::start() {
  for (auto& door : doors_) net::post(door->context(), [door] { door->open(); });
}

const std::vector<Entrance>& Listener::entrances() const { return shared_->options.entrances; }

std::size_t Listener::connections() const { return shared_->occupancy->taken(); }
std::size_t Listener::mostConnections() const { return shared_->occupancy->most(); }
std::uint64_t Listener::takeTurnedAway() { return shared_->turned_away.exchange(0); }
std::uint64_t Listener::takeGivenUp() { return shared_->idle_given_up.exchange(0); }
void Listener::trust(std::vector<aragora::net::Block> proxies) { shared_->occupancy->trust(std::move(proxies)); }

void Listener::stopAccepting() {
  shared_->draining = true;
  local_sockets_.clear();
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
