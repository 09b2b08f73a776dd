#include "daemon/edge/request_head.h"

#include <algorithm>
#include <array>
#include <set>

#include "common/base/text.h"
#include "daemon/edge/target.h"

namespace aragora::edge {

namespace bhttp = boost::beast::http;

namespace {
constexpr std::size_t kTargetLimit = 8 * 1024;
constexpr std::size_t kFieldLimit = 100;
// One value each: of two, whoever stands between the client and us may have read the other one (RFC 9110 section 5.3;
// RFC 6455 section 11.3). Host and what frames the body are looked at by themselves.
constexpr std::array<std::string_view, 6> kOnce = {"Authorization", "Content-Type",      "Idempotency-Key",
                                                   "Origin",        "Sec-WebSocket-Key", "Sec-WebSocket-Version"};

using Head = bhttp::request<bhttp::string_body>;

std::optional<Refusal> checkFraming(const Head& head, const Request& request) {
  const auto hosts = request.lines("host").size();
  if (hosts > 1 || (hosts == 0 && head.version() == 11)) return Refusal{400, "exactly one Host field is needed"};
  const auto lengths = request.lines("content-length");
  const auto codings = request.lines("transfer-encoding");
  if (lengths.size() > 1) return Refusal{400, "more than one Content-Length"};
  if (!lengths.empty() && (lengths[0].empty() || lengths[0].find_first_not_of("0123456789") != std::string_view::npos))
    return Refusal{400, "Content-Length is not one number"};
  if (codings.empty()) return std::nullopt;
  if (codings.size() > 1) return Refusal{400, "more than one Transfer-Encoding"};
  if (!lengths.empty()) return Refusal{400, "both Content-Length and Transfer-Encoding"};
  if (head.version() == 10) return Refusal{400, "Transfer-Encoding in HTTP/1.0"};
  if (codings[0].empty()) return Refusal{400, "an empty Transfer-Encoding"};
  if (lower(codings[0]) != "chunked") return Refusal{501, "the only transfer coding known here is chunked"};
  return std::nullopt;
}

std::optional<Refusal> checkRepeats(const Head& head) {
  std::array<bool, kOnce.size()> seen{};
  for (const auto& field : head) {
    const auto name = std::find_if(kOnce.begin(), kOnce.end(), [&](std::string_view once) {
      return boost::beast::iequals(field.name_string(), {once.data(), once.size()});
    });
    if (name != kOnce.end() && std::exchange(seen.at(static_cast<std::size_t>(name - kOnce.begin())), true))
      return Refusal{400, fmt::format("more than one {}", *name)};
  }
  return std::nullopt;
}

// Where the authority of an absolute-form begins.
std::optional<std::size_t> behindScheme(std::string_view target) {
  if (startsWith(target, "/")) return std::nullopt;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (lower(target.substr(0, scheme.size())) == scheme) return scheme.size();
  }
  return std::nullopt;
}

// Into request.host and, without it, `target`. Host is needed and has to be one in any case, and says nothing beside
// the authority of an absolute-form (RFC 9112 section 3.2.2).
std::optional<Refusal> readHost(std::string& target, Request& request) {
  for (const auto line : request.lines("host")) {
    const auto host = parseAuthority(line);
    if (!host) return Refusal{400, "Host is not a name or an address with at most a port behind it"};
    request.host = *host;
  }
  const auto begin = behindScheme(target);
  if (!begin) return std::nullopt;
  const auto end = std::min(target.find_first_of("/?#", *begin), target.size());
  const auto host = parseAuthority(std::string_view(target).substr(*begin, end - *begin));
  if (!host) return Refusal{400, "the request target names no host that can be one"};
  request.host = *host;
  target.erase(0, end);
  if (!startsWith(target, "/")) target.insert(0, "/");
  return std::nullopt;
}
}  // namespace

std::optional<Refusal> readRawHead(std::string_view bytes) {
  for (auto end = bytes.find("\r\n"); end != std::string_view::npos; end = bytes.find("\r\n", end + 2)) {
    if (end + 2 < bytes.size() && (bytes[end + 2] == ' ' || bytes[end + 2] == '\t'))
      return Refusal{400, "a header field goes on in the next line"};
  }
  return std::nullopt;
}

std::optional<Refusal> readRequestHead(const Head& head, Request& request) {
  for (const auto& field : head)
    request.headers.emplace_back(lower(std::string_view(field.name_string().data(), field.name_string().size())),
                                 std::string(field.value()));
  if (head.version() != 11 && head.version() != 10) return Refusal{505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
  if (request.headers.size() > kFieldLimit) return Refusal{431, "too many header fields"};
  if (auto refusal = checkFraming(head, request)) return refusal;
  if (auto refusal = checkRepeats(head)) return refusal;
  std::string target(head.target());
  if (target.size() > kTargetLimit) return Refusal{414, "the request target is too long"};
  if (auto refusal = readHost(target, request)) return refusal;
  static const std::set<std::string, std::less<>> kMethods = {"GET",   "HEAD",   "POST",   "PUT",
                                                              "PATCH", "DELETE", "OPTIONS"};
  const auto method = kMethods.find(std::string_view(head.method_string().data(), head.method_string().size()));
  if (method == kMethods.end())
    return Refusal{head.method() == bhttp::verb::unknown ? 501 : 405, "this method is not taken here"};
  request.method = *method;
  if (request.method == "OPTIONS" && target == "*") target = "/";
  request.target = std::string(target);
  auto parsed = parseTarget(target);
  if (!parsed) return Refusal{400, "the request target is malformed"};
  request.path = std::move(parsed->path);  // first: what is refused is counted where it was meant to go
  if (parsed->repeated)
    return Refusal{400, fmt::format("query parameter {} is given more than once", printable(*parsed->repeated, 60))};
  request.query = std::move(parsed->query);
  if (request.method == "HEAD") {
    request.head = true;
    request.method = "GET";
  }
  return std::nullopt;
}

}  // namespace aragora::edge
