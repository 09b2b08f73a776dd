#include "common/net/listen_address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <variant>

#include "common/base/text.h"
#include "common/net/address.h"

namespace aragora::net {

namespace {
constexpr std::string_view kLocal = "unix:";
constexpr std::string_view kPlain = "http://";
constexpr std::size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;

bool isFamily(int family, const std::string& text) {
  in6_addr bytes{};
  return ::inet_pton(family, text.c_str(), &bytes) == 1;
}

bool isV6(const std::string& host) { return isFamily(AF_INET6, host.substr(0, host.find('%'))); }  // fe80::1%eth0

using Read = std::variant<ListenAddress, std::string>;

Read readLocal(std::string_view path) {
  if (!startsWith(path, "/")) return "has no absolute path after unix:";
  if (path.size() > kLongestPath)
    return fmt::format("is longer than {} bytes, the most a socket's path may have", kLongestPath);
  ListenAddress address;
  address.path = std::string(path);
  return address;
}

Read read(std::string_view text) {
  const bool plain = startsWith(text, kPlain);
  if (plain) text.remove_prefix(kPlain.size());
  if (startsWith(text, kLocal)) return readLocal(text.substr(kLocal.size()));
  const bool bracketed = startsWith(text, "[");
  const auto end = bracketed ? text.find(']') : text.rfind(':');
  if (end == std::string_view::npos) return bracketed ? "has no ] after its IPv6 address" : "has no port";
  ListenAddress address;
  address.plain = plain;
  address.host = std::string(bracketed ? text.substr(1, end - 1) : text.substr(0, end));
  const auto rest = text.substr(end + (bracketed ? 1 : 0));
  if (!startsWith(rest, ":")) return "has no port";
  if (bracketed && !isV6(address.host)) return "has no IPv6 address in its brackets";
  if (!bracketed && address.host != "localhost" && !isFamily(AF_INET, address.host))
    return address.host.find(':') != std::string::npos ? "is an IPv6 address without brackets"
                                                       : "is not an address to listen on";
  const auto port = parseInteger(rest.substr(1));
  if (!port || *port < 0 || *port > 65535) return "has no port from 0 to 65535";
  address.port = static_cast<std::uint16_t>(*port);
  return address;
}
}  // namespace

std::optional<ListenAddress> ListenAddress::parse(std::string_view text) {
  auto found = read(text);
  if (auto* address = std::get_if<ListenAddress>(&found)) return std::move(*address);
  return std::nullopt;
}

bool ListenAddress::loopback() const { return local() || isThisMachine(host); }

std::string ListenAddress::text() const {
  if (local()) return fmt::format("{}{}", kLocal, path);
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

std::optional<std::string> listenAddressProblem(std::string_view text) {
  auto found = read(text);
  if (auto* problem = std::get_if<std::string>(&found)) return std::move(*problem);
  return std::nullopt;
}

}  // namespace aragora::net
