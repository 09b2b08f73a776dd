// Bytes sent to a listening daemon's edge: whatever comes, it answers or closes, and then still serves the next client.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "common/base/log.h"
#include "daemon/edge/listener.h"

namespace {
using namespace aragora;

struct NoDatabase : database::Database {
  database::Engine engine() const override { return database::Engine::Sqlite; }
  void read(const Work&) override { throw Error(Code::Unreachable, "no database in this fuzzer"); }
  void write(const Work&) override { throw Error(Code::Unreachable, "no database in this fuzzer"); }
  void ping() override {}
  std::string whyReadOnly() override { return ""; }
  std::string version() override { return ""; }
  PoolState pool() const override { return {}; }
};

struct Edge {
  config::Config config;
  web::Router router;
  metrics::Registry registry;
  NoDatabase database;
  crypto::Keyring keyring{Secret(std::string(64, 'a'))};
  accounts::Accounts accounts{database, keyring, config};
  store::Debates debates{database};
  edge::WorkerPool workers{1, 16};
  ws::Hub hub;
  std::unique_ptr<web::Guard> middleware;
  std::unique_ptr<edge::Listener> listener;

  Edge() {
    log::configure(log::Level::Off, false);
    router.add({.method = "GET",
                .pattern = "/",
                .handler = [](const web::Request&) { return web::Response{}; },
                .inline_handler = true,
                .open = true,
                .counted = false});
    router.add({.method = "POST",
                .pattern = "/",
                .handler = [](const web::Request& r) { return web::jsonResponse(r.jsonBody()); },
                .open = true,
                .counted = false});
    middleware = std::make_unique<web::Guard>(config, router, registry, accounts);
    edge::ListenerOptions options;
    options.port = 0;
    options.threads = 1;
    listener = std::make_unique<edge::Listener>(options, *middleware, workers, hub, debates, registry,
                                                [] { return std::size_t{0}; });
    listener->start();
  }
};

int connectTo(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  timeval limit{5, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
  return fd;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto* edge = new Edge;  // threads of its own: lives as long as the process
  const int fd = connectTo(edge->listener->port());
  (void)!::send(fd, data, size, MSG_NOSIGNAL);
  ::shutdown(fd, SHUT_WR);
  char buffer[65536];
  ssize_t got = 0;
  while ((got = ::recv(fd, buffer, sizeof buffer, 0)) > 0) {
  }
  if (got < 0 && errno == EAGAIN) std::abort();  // neither answered nor closed
  ::close(fd);
  return 0;
}
