#include "daemon/web/guard.h"

#include <Poco/Net/IPAddress.h>

#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::web {

namespace key = config::key;

namespace {
constexpr std::size_t kMaxHops = 32;

bool validRequestId(std::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-") ==
             std::string_view::npos;
}

// One random prefix a process and a counter: unique without a system call for each request.
std::string newRequestId() {
  static const std::string prefix = newUlid();
  static std::atomic<std::uint64_t> counter{0};
  return fmt::format("{}-{:x}", prefix, ++counter);
}

bool loopbackOrigin(std::string_view origin) {
  const auto scheme = origin.find("://");
  if (scheme == std::string_view::npos) return false;
  const auto rest = origin.substr(scheme + 3);
  const auto host = startsWith(rest, "[") ? rest.substr(0, rest.find(']') + 1) : rest.substr(0, rest.find(':'));
  return host == "localhost" || host == "127.0.0.1" || host == "[::1]";
}
}  // namespace

bool inBlock(const std::string& address, const std::string& block) {
  const auto slash = block.find('/');
  Poco::Net::IPAddress ip;
  Poco::Net::IPAddress network;
  if (!Poco::Net::IPAddress::tryParse(address, ip) || !Poco::Net::IPAddress::tryParse(block.substr(0, slash), network))
    return false;
  // Poco also calls plain IPv4 addresses mapped.
  if (ip.family() == Poco::Net::IPAddress::IPv6 && ip.isIPv4Mapped())
    ip = Poco::Net::IPAddress(static_cast<const char*>(ip.addr()) + 12, 4);
  if (ip.family() != network.family()) return false;
  if (slash == std::string::npos) return ip == network;
  const auto bits = parseInteger(std::string_view(block).substr(slash + 1));
  const auto size = static_cast<std::int64_t>(ip.length()) * 8;
  if (!bits || *bits < 0 || *bits > size) return false;
  const auto* a = static_cast<const unsigned char*>(ip.addr());
  const auto* b = static_cast<const unsigned char*>(network.addr());
  for (std::int64_t i = 0; i < *bits; ++i) {
    const unsigned mask = 0x80U >> (i % 8);
    if ((a[i / 8] & mask) != (b[i / 8] & mask)) return false;
  }
  return true;
}

Guard::Guard(const config::Config& config, const Router& router, metrics::Registry& metrics,
             accounts::Accounts& accounts)
    : router_(router), metrics_(metrics), accounts_(accounts), limiter_(config.integer(key::kRateLimit)) {
  reload(config);
}

void Guard::reload(const config::Config& config) {
  Settings settings{config.list(key::kAllowedOrigins), config.list(key::kTrustedProxies), config.production(),
                    config.secret(key::kApiToken)};
  const std::unique_lock lock(mutex_);
  settings_ = std::move(settings);
  limiter_.setLimit(config.integer(key::kRateLimit));
}

bool Guard::trusted(const std::string& address) const {
  const std::shared_lock lock(mutex_);
  return std::any_of(settings_.trusted_proxies.begin(), settings_.trusted_proxies.end(),
                     [&](const std::string& block) { return inBlock(address, block); });
}

void Guard::identify(Request& request, const std::string& peer) const {
  const auto given = request.header("x-request-id");
  request.request_id = validRequestId(given) ? std::string(given) : newRequestId();
  request.client_address = peer;
  const auto forwarded = request.header("x-forwarded-for");
  const auto proto = request.header("x-forwarded-proto");
  if ((forwarded.empty() && proto.empty()) || !trusted(peer)) return;
  request.secure = proto == "https";
  if (forwarded.size() > 1024) return;
  // From the right: each hop was added by the one after it; the first that is no proxy of ours is the client.
  const auto hops = split(forwarded, ',');
  if (hops.size() > kMaxHops) return;
  for (auto hop = hops.rbegin(); hop != hops.rend(); ++hop) {
    Poco::Net::IPAddress parsed;
    if (!Poco::Net::IPAddress::tryParse(*hop, parsed)) return;  // malformed: the peer is what is known
    request.client_address = *hop;
    if (!trusted(*hop)) return;
  }
}

bool Guard::originAllowed(std::string_view origin) const {
  const std::shared_lock lock(mutex_);
  if (settings_.origins.empty()) return !settings_.production && loopbackOrigin(origin);
  return std::find(settings_.origins.begin(), settings_.origins.end(), origin) != settings_.origins.end();
}

std::string Guard::authenticate(std::string_view token) const {
  const std::shared_lock lock(mutex_);
  if (!settings_.api_token.empty()) return Secret(std::string(token)) == settings_.api_token ? "token" : "";
  return settings_.production ? "" : "anonymous";
}

void Guard::identifyCaller(Request& request) const {
  const auto authorization = request.header("authorization");
  const auto token = startsWith(authorization, "Bearer ") ? authorization.substr(7) : std::string_view();
  request.principal = authenticate(token);
  if (request.principal != "token" && accounts::AccessTokens::looksLikeOne(token)) {
    request.access = accounts_.readAccessToken(token);
    request.principal = fmt::format("user:{}", request.access->user);
  }
  if (request.principal.empty())
    throw Error(Code::Unauthorized, "credentials are missing or wrong",
                "send Authorization: Bearer with the API token or an access token");
}

void Guard::requireSession(const web::Route& route, const Request& request) const {
  if (!request.access) return;
  const auto user = accounts_.requireLive(*request.access);
  if (user.role == "viewer" && request.method != "GET" && !route.own_account)
    throw Error(Code::Forbidden, "the role viewer may only read", "ask an administrator for the role member");
}

Response rateLimited(const RateLimiter::Decision& decision, const std::string& what, const std::string& request_id) {
  auto response = errorResponse(
      Error(Code::RateLimited, fmt::format("more than {} {} a minute", decision.limit, what), "slow down"), request_id);
  auto body = parseJson(response.body, "our own answer").as_object();
  body["retry_after"] = decision.retry_after;
  response.body = toJson(body);
  response.headers = {{"Retry-After", fmt::format("{}", decision.retry_after)},
                      {"X-RateLimit-Limit", fmt::format("{}", decision.limit)},
                      {"X-RateLimit-Remaining", "0"}};
  return response;
}

Guard::Route Guard::admit(Request& request) {
  const auto refuse = [&](const Error& error) { return Route{nullptr, errorResponse(error, request.request_id)}; };
  const auto origin = request.header("origin");
  if (request.method == "OPTIONS") {
    Response response;
    response.status = origin.empty() || originAllowed(origin) ? 204 : 403;
    return {nullptr, response};
  }
  auto match = router_.match(request.method, request.path);
  if (match.route == nullptr) {
    if (match.allowed.empty())
      return refuse(Error(Code::NotFound, fmt::format("there is nothing at {}", printable(request.path, 200)),
                          "see /api/openapi.json"));
    auto route = refuse(Error(Code::MethodNotAllowed,
                              fmt::format("{} takes {}", printable(request.path, 200), join(match.allowed, ", "))));
    route.answer->headers.emplace_back("Allow", join(match.allowed, ", ") + ", OPTIONS");
    return route;
  }
  request.parameters = std::move(match.parameters);
  // Another site's page must not change anything in the name of its visitor.
  if (!origin.empty() && request.method != "GET" && !originAllowed(origin))
    return refuse(Error(Code::Forbidden, "this origin may not call the API", "add it to server.allowed_origins"));
  if (match.route->counted) {
    const auto decision = limiter_.take(request.client_address, std::chrono::steady_clock::now());
    if (!decision.allowed) {
      metrics_.count("aragora_rate_limit_hits_total");
      return {nullptr, rateLimited(decision, "requests", request.request_id)};
    }
  }
  if (!match.route->open) {
    try {
      identifyCaller(request);
    } catch (const Error& error) {
      auto route = refuse(error);
      route.answer->headers.emplace_back("WWW-Authenticate", "Bearer");
      return route;
    }
  }
  return {match.route, std::nullopt};
}

std::optional<Response> Guard::runCached(const web::Route& route, const Request& request) {
  if (!route.cached || request.access) return std::nullopt;  // a session is looked up first
  try {
    return route.cached(request);
  } catch (const Error&) {
    return std::nullopt;
  }
}

Response Guard::run(const web::Route& route, const Request& request) const {
  try {
    requireSession(route, request);
    return route.handler(request);
  } catch (const Error& error) {
    if (error.code() == Code::Unreachable || error.code() == Code::Internal) metrics_.count("aragora_db_errors_total");
    return errorResponse(error, request.request_id);
  } catch (const std::exception& error) {
    log::error("request {} {} {}: {}", request.request_id, request.method, request.path, error.what());
    return errorResponse(Error(Code::Internal, error.what()), request.request_id);
  }
}

void Guard::addCors(const Request& request, Response& response) const {
  const auto origin = request.header("origin");
  response.headers.emplace_back("Vary", "Origin");
  if (origin.empty() || !originAllowed(origin)) return;
  response.headers.emplace_back("Access-Control-Allow-Origin", origin);
  response.headers.emplace_back("Access-Control-Allow-Credentials", "true");
  response.headers.emplace_back("Access-Control-Expose-Headers",
                                "X-Request-ID, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining");
  if (request.method != "OPTIONS") return;
  response.headers.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  response.headers.emplace_back("Access-Control-Allow-Headers",
                                "Authorization, Content-Type, Accept, Idempotency-Key, X-Request-ID, X-Requested-With");
  response.headers.emplace_back("Access-Control-Max-Age", "600");
}

void Guard::finish(const Request& request, const web::Route* route, Response& response, double seconds) {
  addCors(request, response);
  response.headers.emplace_back("X-Request-ID", request.request_id);
  if (request.secure) response.headers.emplace_back("Strict-Transport-Security", "max-age=63072000; includeSubDomains");
  metrics_.request(route != nullptr ? route->pattern : std::string_view("unmatched"),
                   request.head ? "HEAD" : request.method, response.status, seconds);
}

}  // namespace aragora::web
