#include "daemon/edge/target.h"

#include <arpa/inet.h>

#include "common/base/text.h"

namespace aragora::edge {

namespace {
enum class Part { Path, Query };

// A proxy that does not decode sees one name where this would see two, and lets pass what it is told to keep: in a path
// an encoded separator is refused (RFC 3986 section 2.2: it is not the same as the separator).
std::optional<std::string> percentDecode(std::string_view text, Part part) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const auto byte = i + 2 < text.size() ? fromHex(text.substr(i + 1, 2)) : std::nullopt;
      if (!byte) return std::nullopt;
      c = (*byte)[0];
      if (part == Part::Path && (c == '/' || c == '\\')) return std::nullopt;
      i += 2;
    } else if (c == '+' && part == Part::Query) {
      c = ' ';
    }
    if (c == '\0') return std::nullopt;
    result += c;
  }
  return validUtf8(result) ? std::optional(result) : std::nullopt;
}

constexpr std::string_view kHexDigits = "0123456789abcdefABCDEF";
// unreserved and sub-delims of RFC 3986 section 2.
constexpr std::string_view kNameBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=";
constexpr std::size_t kLongestName = 255;

// reg-name, which an IPv4 address is, too. No escape is decoded: nothing here looks a host up.
bool isName(std::string_view text) {
  if (text.empty() || text.size() > kLongestName) return false;
  for (; !text.empty(); text.remove_prefix(1)) {
    if (kNameBytes.find(text[0]) != std::string_view::npos) continue;
    if (text[0] != '%' || text.size() < 3 || text.substr(1, 2).find_first_not_of(kHexDigits) != std::string_view::npos)
      return false;
    text.remove_prefix(2);
  }
  return true;
}

bool isIpv6(std::string_view text) {
  in6_addr ignored{};
  return text.size() < INET6_ADDRSTRLEN && ::inet_pton(AF_INET6, std::string(text).c_str(), &ignored) == 1;
}

bool isPort(std::string_view text) {
  constexpr std::int64_t kHighest = 65535;
  if (text.find_first_not_of("0123456789") != std::string_view::npos) return false;
  const auto number = text.empty() ? std::optional<std::int64_t>(kHighest) : parseInteger(text);
  return number && *number > 0 && *number <= kHighest;
}
}  // namespace

std::optional<Target> parseTarget(std::string_view target) {
  if (!startsWith(target, "/") || target.find('#') != std::string_view::npos) return std::nullopt;
  const auto question = target.find('?');
  auto path = percentDecode(target.substr(0, question), Part::Path);
  if (!path) return std::nullopt;
  Target result{canonicalPath(*path), {}, {}};
  if (question == std::string_view::npos) return result;
  for (const auto& pair : split(target.substr(question + 1), '&')) {
    const auto equals = pair.find('=');
    auto name = percentDecode(std::string_view(pair).substr(0, equals), Part::Query);
    auto value = equals == std::string::npos ? std::optional<std::string>("")
                                             : percentDecode(std::string_view(pair).substr(equals + 1), Part::Query);
    if (!name || !value) return std::nullopt;
    if (!result.query.emplace(*name, *value).second && !result.repeated) result.repeated = std::move(name);
  }
  return result;
}

std::string canonicalPath(std::string_view path) {
  std::string result(path);
  for (const auto* version : {"/api/v1/", "/api/v2/"}) {
    if (startsWith(result, version)) result = "/api/" + result.substr(8);
  }
  if (result.size() > 1 && result.back() == '/') result.pop_back();
  return result;
}

std::optional<std::string> parseAuthority(std::string_view text) {
  const bool literal = startsWith(text, "[");
  const auto end = std::min(text.find(literal ? ']' : ':'), text.size());
  if (literal && end == text.size()) return std::nullopt;
  const auto host = literal ? text.substr(1, end - 1) : text.substr(0, end);
  const auto port = text.substr(literal ? end + 1 : end);
  if (!(literal ? isIpv6(host) : isName(host))) return std::nullopt;
  if (!port.empty() && (port[0] != ':' || !isPort(port.substr(1)))) return std::nullopt;
  return std::string(port == ":" ? text.substr(0, text.size() - 1) : text);
}

}  // namespace aragora::edge
