#include "common/net/url.h"

#include <algorithm>

#include "common/base/text.h"
#include "common/net/address.h"

namespace aragora::net {

namespace {
constexpr std::string_view kUnreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

std::uint16_t portOf(std::string_view scheme) {
  if (scheme == "https") return 443;
  return scheme == "http" ? 80 : 0;
}

bool validScheme(std::string_view scheme) {
  return !scheme.empty() && scheme[0] >= 'a' && scheme[0] <= 'z' &&
         scheme.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789+-.") == std::string_view::npos;
}

// Lenient about what users write into passwords; a host is looked at below.
bool validBytes(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

// "host", "host:port", "[v6]:port".
bool readHost(std::string_view text, Url& url) {
  auto colon = text.rfind(':');
  if (startsWith(text, "[")) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return false;
    url.host = std::string(text.substr(1, end - 1));
    const auto ip = Ip::parse(url.host);
    if (!ip || url.host.find(':') == std::string::npos) return false;
    if (end + 1 == text.size()) return true;
    if (text[end + 1] != ':') return false;
    colon = end + 1;
  } else {
    url.host = lower(text.substr(0, colon));
    if (url.host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-._") != std::string::npos) return false;
  }
  if (colon == std::string_view::npos || colon + 1 == text.size()) return true;
  const auto digits = text.substr(colon + 1);
  if (digits.size() > 5 || digits.find_first_not_of("0123456789") != std::string_view::npos) return false;
  const auto port = *parseInteger(digits);
  if (port < 1 || port > 65535) return false;
  url.port = static_cast<std::uint16_t>(port);
  return true;
}
}  // namespace

std::optional<Url> Url::parse(std::string_view text) {
  const auto scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos || !validBytes(text)) return std::nullopt;
  Url url;
  url.scheme = lower(text.substr(0, scheme_end));
  if (!validScheme(url.scheme)) return std::nullopt;
  url.port = portOf(url.scheme);
  auto rest = text.substr(scheme_end + 3);
  rest = rest.substr(0, rest.find('#'));
  const auto authority_end = std::min(rest.find_first_of("/?"), rest.size());
  auto authority = rest.substr(0, authority_end);
  rest.remove_prefix(authority_end);
  if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
    url.user_info = std::string(authority.substr(0, at));
    authority.remove_prefix(at + 1);
  }
  if (!readHost(authority, url)) return std::nullopt;
  const auto question = rest.find('?');
  url.path = std::string(rest.substr(0, question));
  if (question != std::string_view::npos) url.query = std::string(rest.substr(question + 1));
  return url;
}

std::string Url::authority() const {
  const auto shown = host.find(':') == std::string::npos ? host : fmt::format("[{}]", host);
  return port == portOf(scheme) ? shown : fmt::format("{}:{}", shown, port);
}

std::string Url::target() const {
  return fmt::format("{}{}{}{}", startsWith(path, "/") ? "" : "/", path, query.empty() ? "" : "?", query);
}

std::optional<std::vector<std::pair<std::string, std::string>>> Url::parameters() const {
  std::vector<std::pair<std::string, std::string>> result;
  for (const auto& part : split(query, '&')) {
    const auto equals = part.find('=');
    const auto name = percentDecoded(std::string_view(part).substr(0, equals));
    const auto value = percentDecoded(equals == std::string::npos ? "" : std::string_view(part).substr(equals + 1));
    if (!name || !value) return std::nullopt;
    result.emplace_back(*name, *value);
  }
  return result;
}

std::string percentEncoded(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (kUnreserved.find(c) != std::string_view::npos)
      result += c;
    else
      result += "%" + upper(toHex(std::string_view(&c, 1)));
  }
  return result;
}

std::optional<std::string> percentDecoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    const auto byte = i + 2 < text.size() ? fromHex(text.substr(i + 1, 2)) : std::nullopt;
    if (!byte) return std::nullopt;
    result += *byte;
    i += 2;
  }
  return result;
}

}  // namespace aragora::net
