#include "common/net/stream.h"

#include <Poco/Exception.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <Poco/Net/StreamSocketImpl.h>
#include <Poco/Net/X509Certificate.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <optional>

#include "common/base/interrupt.h"
#include "common/base/text.h"
#include "common/net/failure.h"
#include "common/net/resolve.h"
#include "common/net/tls_context.h"

namespace aragora::net {

using Poco::Net::SecureStreamSocket;

namespace {
// One address that does not answer leaves time for the others.
constexpr auto kWhileOthersAreLeft = std::chrono::milliseconds(3000);
constexpr auto kInLine = std::chrono::milliseconds(20);

Deadline endOf(const Limits& limits) { return std::min(limits.deadline, deadlineIn(limits.patience)); }

// Poco's socket on a descriptor of ours, which was never without O_CLOEXEC.
class Adopted : public Poco::Net::StreamSocket {
 public:
  explicit Adopted(int fd) : StreamSocket(new Poco::Net::StreamSocketImpl(fd)) { setBlocking(false); }
};
}  // namespace

std::string Target::text() const {
  if (!path.empty()) return "unix:" + path;
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

struct Stream::Socket {
  const Target& target;
  std::optional<Adopted> plain;
  std::optional<SecureStreamSocket> secure;

  int fd() const { return plain->impl()->sockfd(); }

  [[noreturn]] void fail(Cause cause, std::string_view reason, std::string hint = {}) const {
    throw Failure(cause, fmt::format("{}: {}", target.text(), reason), std::move(hint));
  }

  // shutdown() is what wakes a poll(2) of another thread; the callback is gone before the descriptor is.
  void await(short events, const Limits& limits, Deadline until) const {
    const std::stop_callback wake(limits.stop, [fd = fd()] { ::shutdown(fd, SHUT_RDWR); });
    checkStopped(limits.stop);
    if (!interrupt::waitFor(fd(), events, until)) fail(Cause::TooLate, "no answer in time");
    checkStopped(limits.stop);
  }

  // A server that writes head and body separately, without TCP_NODELAY, sends the body once the head is acknowledged,
  // which the kernel would delay by 40 ms: tcp(7), TCP_QUICKACK, which does not last and is asked for each time.
  void acknowledge() const {
    const int on = 1;
    ::setsockopt(fd(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
  }

  // Poco says with negative numbers what TLS waits for.
  void awaitTls(int said, const Limits& limits, Deadline until) const {
    await(said == SecureStreamSocket::ERR_SSL_WANT_WRITE ? POLLOUT : POLLIN, limits, until);
  }

  void connect(const SocketAddress& address, const Limits& limits, Deadline until) {
    const int created = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (created < 0) fail(Cause::NotReached, systemError(errno));
    plain.emplace(created);
    const int on = 1;
    ::setsockopt(created, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(created, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    int error = 0;
    const auto attempt = [&] {
      const auto* to = reinterpret_cast<const sockaddr*>(&address.storage);
      return ::connect(created, to, address.length) == 0 ? 0 : errno;
    };
    // Of a Unix socket: somebody listens, and more stand in line than may. No poll(2) tells when there is room.
    while ((error = attempt()) == EAGAIN) {
      if (remaining(until) <= kInLine) fail(Cause::Busy, "too many stand in line there");
      pause(kInLine, limits.stop);
    }
    if (error == EINPROGRESS) {
      await(POLLOUT, limits, until);
      socklen_t size = sizeof error;
      ::getsockopt(created, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == ECONNREFUSED)
      throw Failure(Cause::NotReached, fmt::format("{}: {}", target.text(), systemError(error))).closedPort();
    if (error != 0) fail(Cause::NotReached, systemError(error));
  }

  SocketAddress socketFile() const {
    SocketAddress address;
    auto& local = reinterpret_cast<sockaddr_un&>(address.storage);
    local.sun_family = AF_UNIX;
    if (target.path.size() >= sizeof local.sun_path) fail(Cause::NoSuchName, "the path is too long for a Unix socket");
    std::memcpy(local.sun_path, target.path.c_str(), target.path.size() + 1);
    address.length = sizeof local;
    return address;
  }

  void connectToAny(const Limits& limits, Deadline until) {
    if (!target.path.empty()) return connect(socketFile(), limits, until);
    const auto addresses = resolve(target.host, target.port, limits);
    for (std::size_t i = 0;; ++i) {
      const bool last = i + 1 == addresses.size();
      try {
        return connect(addresses[i], limits, last ? until : std::min(until, deadlineIn(kWhileOthersAreLeft)));
      } catch (const Failure&) {
        if (last || remaining(until).count() == 0) throw;
      }
    }
  }

  void startTls(const Limits& limits, Deadline until) {
    try {
      secure.emplace(SecureStreamSocket::attach(*plain, target.host, target.tls->context));
      int said = 0;
      while ((said = secure->completeHandshake()) < 0) awaitTls(said, limits, until);
      if (said == 0) fail(Cause::Broken, "the connection ended within the TLS handshake");
      if (const auto& pinned = target.tls->pinned; !pinned)
        secure->verifyPeerCertificate(target.host);
      else if (!pinned->equals(secure->peerCertificate()))
        fail(Cause::Untrusted, "it shows another certificate than the one that is configured",
             "after a change of the files: aragora reload");
    } catch (const Poco::Net::CertificateValidationException&) {
      fail(Cause::Untrusted, fmt::format("its certificate is not one of {}", target.host), "check the name");
    } catch (const Poco::Exception& error) {
      checkStopped(limits.stop);
      if (error.displayText().find("certificate verify failed") != std::string::npos)
        fail(Cause::Untrusted, "its certificate is not signed by anybody trusted here, or has expired",
             "SSL_CERT_FILE names a file with an authority of your own");
      fail(Cause::Broken, fmt::format("no TLS: {}", printable(error.displayText(), 160)));
    }
  }

  template <typename Call>
  std::size_t tls(const Limits& limits, const Call& call) {
    const auto until = endOf(limits);
    try {
      int done = 0;
      while ((done = call()) < 0) awaitTls(done, limits, until);
      return static_cast<std::size_t>(done);
    } catch (const Poco::Exception& error) {
      checkStopped(limits.stop);
      fail(Cause::Broken, fmt::format("the connection broke ({})", printable(error.displayText(), 120)));
    }
  }

  template <typename Call>
  std::size_t clear(short events, const Limits& limits, const Call& call) {
    const auto until = endOf(limits);
    while (true) {
      const ssize_t done = call();
      if (done >= 0) return static_cast<std::size_t>(done);
      if (errno == EAGAIN || errno == EWOULDBLOCK)
        await(events, limits, until);
      else if (errno != EINTR)
        fail(Cause::Broken, fmt::format("the connection broke ({})", systemError(errno)));
    }
  }
};

Stream::Stream(Target target, const Limits& limits) : target_(std::move(target)) {
  socket_ = std::make_unique<Socket>(Socket{target_, {}, {}});
  const auto until = endOf(limits);
  socket_->connectToAny(limits, until);
  if (target_.tls) socket_->startTls(limits, until);
}

Stream::~Stream() = default;

void Stream::startTls(std::shared_ptr<const TlsContext> tls, const Limits& limits) {
  target_.tls = std::move(tls);
  socket_->startTls(limits, endOf(limits));
}

std::optional<PeerCertificate> Stream::peer() const {
  if (!socket_->secure) return std::nullopt;
  try {
    const auto shown = socket_->secure->peerCertificate();
    const auto micros = [](const Poco::DateTime& at) { return at.timestamp().epochMicroseconds(); };
    return PeerCertificate{printable(shown.subjectName(), 300), printable(shown.issuerName(), 300),
                           micros(shown.validFrom()), micros(shown.expiresOn())};
  } catch (const Poco::Exception& error) {
    socket_->fail(Cause::Malformed,
                  fmt::format("its certificate cannot be read ({})", printable(error.displayText(), 120)));
  }
}

std::size_t Stream::read(char* buffer, std::size_t size, const Limits& limits) {
  checkStopped(limits.stop);
  auto& socket = *socket_;
  const auto got = socket.secure
                       ? socket.tls(limits, [&] { return socket.secure->receiveBytes(buffer, static_cast<int>(size)); })
                       : socket.clear(POLLIN, limits, [&] { return ::recv(socket.fd(), buffer, size, 0); });
  socket.acknowledge();
  // A stream of single bytes never waits for long, and has a deadline as well.
  if (remaining(limits.deadline).count() == 0) socket.fail(Cause::TooLate, "no complete answer in time");
  return got;
}

std::optional<std::size_t> Stream::readNow(char* buffer, std::size_t size) {
  auto& socket = *socket_;
  if (!socket.secure) {
    const auto got = ::recv(socket.fd(), buffer, size, 0);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return std::nullopt;
    socket.fail(Cause::Broken, fmt::format("the connection broke ({})", systemError(errno)));
  }
  try {
    const int got = socket.secure->receiveBytes(buffer, static_cast<int>(size));
    return got < 0 ? std::nullopt : std::optional(static_cast<std::size_t>(got));
  } catch (const Poco::Exception& error) {
    socket.fail(Cause::Broken, fmt::format("the connection broke ({})", printable(error.displayText(), 120)));
  }
}

int Stream::descriptor() const { return socket_->fd(); }

void Stream::write(std::string_view bytes, const Limits& limits) {
  constexpr std::size_t kMost = 1U << 20;
  auto& socket = *socket_;
  while (!bytes.empty()) {
    checkStopped(limits.stop);
    const auto size = std::min(bytes.size(), kMost);
    const auto sent =
        socket.secure
            ? socket.tls(limits, [&] { return socket.secure->sendBytes(bytes.data(), static_cast<int>(size)); })
            : socket.clear(POLLOUT, limits, [&] { return ::send(socket.fd(), bytes.data(), size, MSG_NOSIGNAL); });
    bytes.remove_prefix(sent);
    if (remaining(limits.deadline).count() == 0) socket.fail(Cause::TooLate, "it took too long to send");
  }
}

bool Stream::quiet() const {
  pollfd entry{socket_->fd(), POLLIN, 0};
  return ::poll(&entry, 1, 0) == 0;
}

}  // namespace aragora::net
