// Bytes sent to a listening daemon's edge: whatever comes, it answers or closes, and then still serves the next client.
// Over a local socket: each TCP connection would hold a port for a minute, and tens of thousands are all there are.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

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
  std::string path = std::filesystem::temp_directory_path() / fmt::format("fuzz_http_head-{}", ::getpid());
  std::unique_ptr<edge::Listener> listener;

  Edge() {
    log::configure(log::Level::Off, false);
    edge::ListenerOptions options;
    options.entrances[0].address.path = path;
    listener = std::make_unique<edge::Listener>(options, io, *this, workers);
    io.start();
    listener->start();
  }
  std::unique_ptr<edge::Exchange> open(edge::Request) override { return std::make_unique<Echo>(); }
};

int connectTo(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  timeval limit{5, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
  return fd;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Edge edge;  // threads of its own: lives as long as the process
  const int fd = connectTo(edge.path);
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
