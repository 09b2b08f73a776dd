#include "common/net/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

#include "common/base/text.h"

namespace aragora::net {

namespace {
constexpr std::array<unsigned char, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<int> prefixLength(std::string_view text, int most) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  if (text.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  const auto bits = static_cast<int>(*parseInteger(text));
  return bits <= most ? std::optional(bits) : std::nullopt;
}

// Digits, or RFC 7239's name of a port that shall not be known.
bool isPort(std::string_view text) {
  if (text.empty()) return false;
  if (text[0] == '_') return text.size() > 1;
  return text.size() <= 5 && text.find_first_not_of("0123456789") == std::string_view::npos &&
         *parseInteger(text) <= 65535;
}

// The address in "[v6]", "[v6]:port", "v4:port"; the text itself when there is nothing around it.
std::optional<std::string_view> withoutPort(std::string_view text) {
  if (startsWith(text, "[")) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    const auto rest = text.substr(end + 1);
    const auto inside = text.substr(1, end - 1);
    const bool good =
        inside.find(':') != std::string_view::npos && (rest.empty() || (rest[0] == ':' && isPort(rest.substr(1))));
    return good ? std::optional(inside) : std::nullopt;
  }
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos) return text;
  return isPort(text.substr(colon + 1)) ? std::optional(text.substr(0, colon)) : std::nullopt;
}
}  // namespace

std::optional<Ip> Ip::parse(std::string_view text) {
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos) return std::nullopt;
  const std::string terminated(text);
  Ip ip;
  if (::inet_pton(AF_INET, terminated.c_str(), ip.bytes.data()) == 1) return ip;
  if (::inet_pton(AF_INET6, terminated.c_str(), ip.bytes.data()) != 1) return std::nullopt;
  ip.v6 = true;
  if (std::equal(kMapped.begin(), kMapped.end(), ip.bytes.begin())) {
    Ip mapped;
    std::copy(ip.bytes.begin() + 12, ip.bytes.end(), mapped.bytes.begin());
    return mapped;
  }
  return ip;
}

std::string Ip::text() const {
  char buffer[INET6_ADDRSTRLEN];
  return ::inet_ntop(v6 ? AF_INET6 : AF_INET, bytes.data(), buffer, sizeof buffer);
}

bool Ip::loopback() const {
  static const auto v6_loopback = *parse("::1");
  return v6 ? *this == v6_loopback : bytes[0] == 127;
}

bool isThisMachine(std::string_view host) {
  const auto ip = Ip::parse(host);
  return ip ? ip->loopback() : host == "localhost";
}

std::optional<Block> Block::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = text.substr(0, slash);
  const auto ip = Ip::parse(address);
  if (!ip) return std::nullopt;
  Block block{*ip, ip->v6 ? 128 : 32};
  if (slash == std::string_view::npos) return block;
  const bool mapped = !ip->v6 && address.find(':') != std::string_view::npos;
  const auto bits = prefixLength(text.substr(slash + 1), mapped ? 128 : block.bits);
  if (!bits || (mapped && *bits < 96)) return std::nullopt;
  block.bits = mapped ? *bits - 96 : *bits;
  return block;
}

bool Block::contains(std::string_view address) const {
  const auto plain = normalised(address);
  const auto ip = plain ? Ip::parse(*plain) : std::nullopt;
  if (!ip || ip->v6 != network.v6) return false;
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (std::memcmp(ip->bytes.data(), network.bytes.data(), whole) != 0) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<unsigned>(0xff00 >> (bits % 8)) & 0xffU;
  return (ip->bytes[whole] & mask) == (network.bytes[whole] & mask);
}

bool anyContains(const std::vector<Block>& blocks, std::string_view address) {
  return std::any_of(blocks.begin(), blocks.end(), [&](const Block& block) { return block.contains(address); });
}

std::optional<std::string> normalised(std::string_view address) {
  auto plain = withoutPort(address);
  if (!plain) return std::nullopt;
  // "fe80::1%eth0": which link it came in by says nothing about who it is.
  if (const auto zone = plain->find('%'); zone != std::string_view::npos && plain->find(':') < zone) {
    if (zone + 1 == plain->size()) return std::nullopt;
    plain = plain->substr(0, zone);
  }
  const auto ip = Ip::parse(*plain);
  return ip ? std::optional(ip->text()) : std::nullopt;
}

}  // namespace aragora::net
