#include "common/config/addresses.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "common/base/text.h"
#include "common/net/address.h"

namespace aragora::config {

namespace {
int familyOf(const std::string& text) {
  in6_addr bytes{};
  if (::inet_pton(AF_INET, text.c_str(), &bytes) == 1) return AF_INET;
  return ::inet_pton(AF_INET6, text.c_str(), &bytes) == 1 ? AF_INET6 : 0;
}

std::optional<std::string> canonicalHost(const std::string& host) {
  if (startsWith(host, "[")) {
    in6_addr bytes{};
    if (!endsWith(host, "]") || ::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &bytes) != 1)
      return std::nullopt;
    char text[INET6_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET6, &bytes, text, sizeof(text));
    return fmt::format("[{}]", text);
  }
  const bool plain = host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-_") == std::string::npos;
  if (!plain || host.empty() || startsWith(host, ".") || host.find("..") != std::string::npos) return std::nullopt;
  // A last label of digits only makes a browser read an IPv4 address.
  const auto last = host.substr(host.rfind('.') + 1);
  const bool numeric = !last.empty() && last.find_first_not_of("0123456789") == std::string::npos;
  if (numeric && familyOf(host) != AF_INET) return std::nullopt;
  return host;
}
}  // namespace

bool isAddress(std::string_view text) { return familyOf(std::string(text)) != 0; }

std::optional<std::string> listenProblem(std::string_view host) {
  const std::string address(host.substr(0, host.find('%')));  // fe80::1%eth0
  if (host == "localhost" || familyOf(address) != 0) return std::nullopt;
  return "is not an address to listen on";
}

std::optional<std::string> networkProblem(std::string_view text) {
  if (net::Block::parse(text)) return std::nullopt;
  const int family = familyOf(std::string(text.substr(0, text.find('/'))));
  if (family == 0) return "is not an address or CIDR block; names are not looked up";
  return fmt::format("has no prefix length from 0 to {}", family == AF_INET ? 32 : 128);
}

std::optional<std::string> urlPathProblem(std::string_view text) {
  constexpr std::size_t kLongest = 128;
  if (!startsWith(text, "/")) return "does not start with /";
  if (endsWith(text, "/")) return "ends with /";
  if (text.size() > kLongest) return fmt::format("is longer than {}", counted(kLongest, "character"));
  // Nothing that a proxy, a browser or this daemon might write in another way.
  if (text.find("//") != std::string_view::npos ||
      text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/") !=
          std::string_view::npos)
    return "is not of letters, digits, - and _ between single slashes";
  for (const std::string_view version : {"/api/v1", "/api/v2"}) {
    if (text == version || startsWith(text, std::string(version) + "/"))
      return "reads like a version of the API, which is dropped from paths";
  }
  return std::nullopt;
}

std::optional<std::string> canonicalOrigin(std::string_view given) {
  auto text = lower(given);
  while (endsWith(text, "/")) text.pop_back();
  const auto scheme_end = text.find("://");
  if (scheme_end == std::string::npos) return std::nullopt;
  const auto scheme = text.substr(0, scheme_end);
  if (scheme != "http" && scheme != "https") return std::nullopt;
  const auto authority = text.substr(scheme_end + 3);
  const auto host_end = startsWith(authority, "[") ? authority.find(']') : authority.find(':');
  const auto at = host_end == std::string::npos ? authority.size() : host_end + (authority[host_end] == ']' ? 1 : 0);
  const auto host = canonicalHost(authority.substr(0, at));
  if (!host) return std::nullopt;
  if (at == authority.size()) return fmt::format("{}://{}", scheme, *host);
  const auto port = parseInteger(std::string_view(authority).substr(at + 1));
  if (authority[at] != ':' || !port || *port < 1 || *port > 65535) return std::nullopt;
  if (*port == (scheme == "https" ? 443 : 80)) return fmt::format("{}://{}", scheme, *host);
  return fmt::format("{}://{}:{}", scheme, *host, *port);
}

}  // namespace aragora::config
