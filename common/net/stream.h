// A connection to another host, with TLS or without. Every wait has a deadline and ends when it is told to. Failures
// are Failure and name host and port. One owner at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/net/limits.h"
#include "common/net/tls.h"

namespace aragora::net {

struct Target {
  std::string host;  // a name or an address, IPv6 without brackets
  std::uint16_t port = 0;
  std::shared_ptr<const TlsContext> tls = nullptr;  // none: in clear. Shared by all connections.
  std::string path{};                               // of a Unix socket, instead of the others
  std::string text() const;                         // "host:port", or "unix:/path"
};

// What the other side showed of itself.
struct PeerCertificate {
  std::string subject;
  std::string issuer;
  Micros not_before = 0;
  Micros not_after = 0;
};

class Stream {
 public:
  // Connects to the first address of the name that answers.
  Stream(Target target, const Limits& limits);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  const Target& target() const { return target_; }
  // From here on (STARTTLS); nothing may have come that belongs to what follows.
  void startTls(std::shared_ptr<const TlsContext> tls, const Limits& limits);
  std::optional<PeerCertificate> peer() const;  // nullopt in clear
  // At least one byte; 0 when the other side ended it.
  std::size_t read(char* buffer, std::size_t size, const Limits& limits);
  // What is there already; nullopt when nothing is, 0 when the other side ended it. Never waits.
  std::optional<std::size_t> readNow(char* buffer, std::size_t size);
  void write(std::string_view bytes, const Limits& limits);
  // For poll(2): readable when readNow() may have something, once it said nullopt.
  int descriptor() const;
  // Open, and nothing came that nobody asked for.
  bool quiet() const;

 private:
  struct Socket;
  Target target_;
  std::unique_ptr<Socket> socket_;
};

}  // namespace aragora::net
