#include "daemon/edge/request_head.h"

#include <set>

#include "common/base/text.h"
#include "daemon/web/router.h"

namespace aragora::edge {

namespace bhttp = boost::beast::http;

namespace {
constexpr std::size_t kTargetLimit = 8 * 1024;
constexpr std::size_t kFieldLimit = 100;
}  // namespace

std::optional<std::pair<int, std::string>> readRequestHead(const bhttp::request<bhttp::string_body>& head,
                                                           web::Request& request) {
  const auto fail = [](int status, std::string reason) { return std::optional(std::pair(status, std::move(reason))); };
  if (head.version() != 11 && head.version() != 10) return fail(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
  if (static_cast<std::size_t>(std::distance(head.begin(), head.end())) > kFieldLimit)
    return fail(431, "too many header fields");
  const auto hosts = head.count(bhttp::field::host);
  if (hosts > 1 || (hosts == 0 && head.version() == 11)) return fail(400, "exactly one Host field is needed");
  if (head.count(bhttp::field::content_length) > 1) return fail(400, "more than one Content-Length");
  const auto coding = head[bhttp::field::transfer_encoding];
  if (!coding.empty() && head.version() == 10) return fail(400, "Transfer-Encoding in HTTP/1.0");
  if (!coding.empty() && lower(std::string_view(coding.data(), coding.size())) != "chunked")
    return fail(501, "the only transfer coding known here is chunked");
  request.host = std::string(head[bhttp::field::host]);
  std::string_view target(head.target().data(), head.target().size());
  if (target.size() > kTargetLimit) return fail(414, "the request target is too long");
  if (startsWith(target, "http://") || startsWith(target, "https://")) {  // absolute-form
    const auto authority = target.find("://") + 3;
    const auto path = target.find('/', authority);
    if (target.substr(authority, path - authority) != request.host)
      return fail(400, "the request target names another host");
    target = path == std::string_view::npos ? std::string_view("/") : target.substr(path);
  }
  request.method = std::string(head.method_string());
  static const std::set<std::string> kMethods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
  if (kMethods.count(request.method) == 0)
    return fail(head.method() == bhttp::verb::unknown ? 501 : 405, "this method is not taken here");
  if (request.method == "OPTIONS" && target == "*") target = "/";
  auto parsed = web::parseTarget(target);
  if (!parsed) return fail(400, "the request target is malformed");
  request.path = std::move(parsed->path);
  request.query = std::move(parsed->query);
  if (request.method == "HEAD") {
    request.head = true;
    request.method = "GET";
  }
  return std::nullopt;
}

}  // namespace aragora::edge
