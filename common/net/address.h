// Addresses of clients: blocks of them (CIDR, RFC 4632), one canonical text for each, and which client stands behind
// the proxies that we trust (X-Forwarded-For, RFC 7239). Pure functions, any thread.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aragora::net {

// An address in numbers; IPv4-mapped IPv6 is IPv4.
struct Ip {
  bool v6 = false;
  std::array<unsigned char, 16> bytes{};  // IPv4: the first four
  // Plain "10.0.0.1" or "::1", nothing around it.
  static std::optional<Ip> parse(std::string_view text);
  std::string text() const;
  bool loopback() const;  // 127.0.0.0/8 and ::1
  bool operator==(const Ip&) const = default;
};

// Whether what is sent there stays on this machine: `localhost` (which resolve() takes at its word) and addresses of
// the loopback, as they are written. No other name: hosts files and name servers say where those lead.
bool isThisMachine(std::string_view host);

struct Block {
  Ip network;
  int bits = 0;
  // "10.0.0.0/8", "::1": an address, and the number of its leading bits that count (all without one). nullopt for
  // everything else: names, "*", "/33", an empty text.
  static std::optional<Block> parse(std::string_view text);
  // False for what is no address.
  bool contains(std::string_view address) const;
};
bool anyContains(const std::vector<Block>& blocks, std::string_view address);

// The one text for an address, without port, brackets, zone and mapping: "[::ffff:10.0.0.1]:80" is "10.0.0.1". nullopt
// for what is no address.
std::optional<std::string> normalised(std::string_view address);

struct Client {
  std::string address;
  bool secure = false;  // it speaks TLS with the outermost proxy that we trust
};
// Who is behind `peer`. Only a trusted peer's headers count; each hop was added by the one behind it, so that the walk
// goes from the right and ends at the first that is no proxy of ours. Throws Error(Validation) for more than 1,024
// bytes or 32 hops, for a hop that is reached and is no address, for a Forwarded that is malformed, and when the two
// headers name different clients: one of them then comes from the client itself.
Client clientOf(const std::string& peer, const std::vector<std::string_view>& x_forwarded_for_lines,
                const std::vector<std::string_view>& forwarded_lines, std::string_view x_forwarded_proto,
                const std::vector<Block>& trusted);

}  // namespace aragora::net
