// The parts of a URL (RFC 3986), and percent-encoding. Pure, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace aragora::net {

struct Url {
  std::string scheme;      // lower case
  std::string user_info;   // as written
  std::string host;        // IPv6 without brackets
  std::uint16_t port = 0;  // of the scheme when none is written; 0 when that has none
  std::string path;        // as written, as are the others
  std::string query;

  // nullopt for what has no scheme and host, or any byte that a URL may not have.
  static std::optional<Url> parse(std::string_view text);
  std::string authority() const;  // host, and the port unless it is the scheme's: what a Host header says
  std::string target() const;     // path and query, "/" at least
  // nullopt when one is not percent-encoded.
  std::optional<std::vector<std::pair<std::string, std::string>>> parameters() const;
};

// Everything but letters, digits and -._~ (what no part of a URL minds).
std::string percentEncoded(std::string_view text);
std::optional<std::string> percentDecoded(std::string_view text);

}  // namespace aragora::net
