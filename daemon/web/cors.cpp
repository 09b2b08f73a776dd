#include "daemon/web/cors.h"

#include <algorithm>

#include "common/base/text.h"

namespace aragora::web {

namespace {
bool loopbackOrigin(std::string_view origin) {
  const auto scheme = origin.find("://");
  if (scheme == std::string_view::npos) return false;
  const auto rest = origin.substr(scheme + 3);
  const auto host = startsWith(rest, "[") ? rest.substr(0, rest.find(']') + 1) : rest.substr(0, rest.find(':'));
  return host == "localhost" || host == "127.0.0.1" || host == "[::1]";
}
}  // namespace

bool Cors::allows(std::string_view origin) const {
  if (origins_.empty()) return loopback_allowed_ && loopbackOrigin(origin);
  return std::find(origins_.begin(), origins_.end(), origin) != origins_.end();
}

edge::Response Cors::preflight(std::string_view origin) const {
  edge::Response response;
  response.status = origin.empty() || allows(origin) ? 204 : 403;
  return response;
}

void Cors::addHeaders(std::string_view origin, bool preflight, edge::Response& response) const {
  response.headers.emplace_back("Vary", "Origin");
  if (origin.empty() || !allows(origin)) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", origin);
  response.headers.emplace_back("Access-Control-Allow-Credentials", "true");
  response.headers.emplace_back("Access-Control-Expose-Headers",
                                "X-Request-ID, Retry-After, RateLimit, RateLimit-Policy, X-RateLimit-Limit, "
                                "X-RateLimit-Remaining, X-RateLimit-Reset, Idempotent-Replayed, Content-Disposition, "
                                "X-Next-Before, WWW-Authenticate");
  if (!preflight) return;
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  response.headers.emplace_back("Access-Control-Allow-Headers",
                                "Authorization, Content-Type, Accept, Idempotency-Key, X-Request-ID, X-Requested-With");
  response.headers.emplace_back("Access-Control-Max-Age", "600");
}

}  // namespace aragora::web
