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

// Answers everything at once, bodies of up to a MiB included.
class Echo : public edge::Exchange {
 public:
  std::optional<edge::Response> admit() override { return std::nullopt; }
  std::size_t bodyLimit() const override { return 1U << 20; }
  void setBody(std::string body) override { body_ = std::move(body); }
  std::optional<edge::Response> answerNow() override { return answer(); }
  edge::Response answer() override {
    edge::Response response;
    response.body = body_;
    return response;
  }
  edge::Response refuse(const edge::Refusal& refusal) override {
    edge::Response response;
    response.status = refusal.status;
    return response;
  }
  void finish(edge::Response&, std::chrono::steady_clock::duration) override {}

 private:
  std::string body_;
};

struct Edge : edge::Site {
  edge::WorkerPool workers{1, 16};
  edge::IoThreads io{1};
  std::unique_ptr<edge::Listener> listener;

  Edge() {
    log::configure(log::Level::Off, false);
    edge::ListenerOptions options;
    options.entrances[0].address.port = 0;
    listener = std::make_unique<edge::Listener>(options, io, *this, workers);
    io.start();
    listener->start();
  }
  std::unique_ptr<edge::Exchange> open(edge::Request) override { return std::make_unique<Echo>(); }
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
