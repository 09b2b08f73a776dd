// Where a server listens: an address and a port, or the path of a local socket. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aragora::net {

struct ListenAddress {
  std::string host = "127.0.0.1";  // an address without brackets, or localhost
  std::uint16_t port = 8080;       // 0: the kernel chooses
  std::string path;                // of a local socket; host and port mean nothing then
  bool plain = false;              // no TLS here, whatever the other addresses speak

  // "127.0.0.1:8080", "[::1]:8080", "unix:/run/aragora/aragora.sock"; "http://" before it keeps TLS away. nullopt for
  // what listenAddressProblem() says something of.
  static std::optional<ListenAddress> parse(std::string_view text);
  bool local() const { return !path.empty(); }
  bool loopback() const;
  std::string text() const;  // as parse() takes it, without http://
  bool operator==(const ListenAddress&) const = default;
};

// What is wrong with it, nullopt when nothing is.
std::optional<std::string> listenAddressProblem(std::string_view text);

}  // namespace aragora::net
