#include "daemon/web/guard.h"

#include <algorithm>

#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "daemon/web/errors.h"

namespace aragora::web {

using accounts::Caller;
using accounts::Permission;

namespace {
constexpr std::size_t kDefaultBodyLimit = 1U << 20;
constexpr std::size_t kRequestIdLimit = 128;

bool validRequestId(std::string_view id) {
  return !id.empty() && id.size() <= kRequestIdLimit &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-") ==
             std::string_view::npos;
}

// One random prefix a process and a counter: unique without a system call for each request.
std::string newRequestId() {
  static const std::string prefix = newUlid();
  static std::atomic<std::uint64_t> counter{0};
  return fmt::format("{}-{:x}", prefix, ++counter);
}

void requireKnownQuery(const Route& route, const Request& request) {
  for (const auto& [name, value] : request.query) {
    if (std::find(route.query.begin(), route.query.end(), name) != route.query.end()) continue;
    const auto known = std::vector<std::string>(route.query.begin(), route.query.end());
    throw Error(Code::Validation, fmt::format("query parameter {} is not known here", printable(name, 60)),
                known.empty() ? std::string("this route takes none") : fmt::format("known: {}", join(known, ", ")));
  }
}

constexpr Micros kStepUpLasts = 900'000'000;

void requireStepUp(const accounts::Principal& caller) {
  if (caller.stepped_up_at && nowMicros() - *caller.stepped_up_at <= kStepUpLasts) return;
  throw Error(
      Code::SecondFactor,
      caller.stepped_up_at ? "the second factor was proved more than 15 minutes ago" : "this needs a second factor",
      "POST /api/auth/mfa/step-up with a code; without a factor first /api/auth/mfa/setup");
}

// Of a session or a key that may not.
[[noreturn]] void refuseUser(const Route& route, const accounts::Principal& caller) {
  const auto scope = accounts::scopeFor(route.permission);
  if (caller.key && !scope) throw Error(Code::Forbidden, "an API key may not do that", "log in: POST /api/auth/login");
  if (caller.key && caller.key->scopes.count(*scope) == 0)
    throw Error(Code::Forbidden, fmt::format("this API key lacks the scope {}", accounts::scopeName(*scope)),
                "make one that has it: POST /api/auth/api-keys");
  if (caller.role == accounts::Role::Viewer && route.permission != Permission::Administer)
    throw Error(Code::Forbidden, "the role viewer may only read", "ask an administrator for the role member");
  throw Error(Code::Forbidden, "this account may not do that");
}

bool needsSession(Permission permission) {
  return permission == Permission::OwnAccount || permission == Permission::OwnCredentials ||
         permission == Permission::Administer;
}

void requirePermission(const Route& route, const accounts::Principal& caller, bool step_up) {
  if (accounts::permits(caller, route.permission)) {
    if (step_up && route.permission == Permission::Administer) requireStepUp(caller);
    return;
  }
  if (caller.caller == Caller::User) refuseUser(route, caller);
  // Where nothing was presented, credentials may help.
  if (caller.caller != Caller::Operator || needsSession(route.permission)) {
    throw Error(Code::Unauthorized, "credentials are missing or wrong",
                needsSession(route.permission) ? "this needs an access token: POST /api/auth/login"
                : route.permission == Permission::ReadMetrics
                    ? "send Authorization: Bearer with ARAGORA_METRICS_TOKEN"
                    : "send Authorization: Bearer with the API token, an access token or an API key");
  }
  throw Error(Code::Forbidden, "this account may not do that");
}
}  // namespace

class Guard::Exchange : public edge::Exchange {
 public:
  Exchange(Guard& guard, edge::Request request) : guard_(guard), settings_(guard.settings_.get()) {
    static_cast<edge::Request&>(request_) = std::move(request);
    const auto given = request_.lines("x-request-id");
    // One that looks like a secret would stand in the log and in the audit log.
    const bool usable = given.size() == 1 && validRequestId(given.front()) && redact(given.front()) == given.front();
    request_.request_id = usable ? std::string(given.front()) : newRequestId();
    request_.client_address = request_.peer;
    inside_ = guard.router_.enter(request_.path);
    request_.base_path = guard.router_.basePath();
  }

  // What the head alone decides is answered once it was counted, like everything else: see admitted().
  std::optional<Response> admit() override {
    try {
      identifyClient();
    } catch (const Error& error) {
      stray_ = true;
      by_head_ = answerOf(error);
      return std::nullopt;
    }
    by_head_ = decideByHead();
    if (!by_head_ && route_->counted && guard_.memory_scarce_ != nullptr && *guard_.memory_scarce_) {
      guard_.shed_for_memory_.add();
      return refuse({503, "the server is short of memory"});
    }
    return std::nullopt;
  }

  std::optional<Response> misread(const edge::Refusal& refusal) override {
    stray_ = true;
    const auto match = guard_.router_.match(request_.method, request_.path);
    pattern_ = match.pattern;
    if (match.route != nullptr) errors_ = match.route->errors;
    by_head_ = [this, refusal] { return refuse(refusal); };
    try {
      identifyClient();
    } catch (const Error&) {  // then it is of the other end
    }
    return std::nullopt;
  }

  bool ask(std::function<void()> go_on) override {
    if (!counted()) return false;
    auto now =
        guard_.limits_.count(limitsByHead(), Counting::Take, [this, go_on = std::move(go_on)](Standings standings) {
          standings_ = std::move(standings);
          go_on();
        });
    if (now) standings_ = std::move(*now);
    return !now;
  }

  std::optional<Response> admitted() override {
    if (auto refused = refusalByLimits()) return refused;
    return by_head_ ? std::optional(by_head_()) : std::nullopt;
  }

  std::size_t bodyLimit() const override { return route_ != nullptr ? route_->body_limit : kDefaultBodyLimit; }
  void setBody(std::string body) override {
    guard_.received_.add(static_cast<double>(body.size()));
    request_.body = std::move(body);
  }

  std::optional<Response> answerNow() override {
    const log::Scope scope({request_.request_id, ""});
    auto caller = callerNow();
    if (!caller) return std::nullopt;
    try {
      if (comesWithoutCredentials(*caller))
        caller = accounts::Principal{};
      else
        requirePermission(*route_, *caller, settings_->step_up);
    } catch (const Error& error) {
      return refused(error);
    }
    request_.principal = std::move(*caller);
    resolved_ = true;
    if (route_->inline_handler) return handle();
    if (!route_->cached) return std::nullopt;
    try {
      return route_->cached(request_);
    } catch (const Error&) {  // a mistake in the request: the handler names it
      return std::nullopt;
    }
  }

  Response answer() override {
    const log::Scope scope({request_.request_id, ""});
    if (!resolved_) {
      try {
        request_.principal = guard_.authenticator_.resolve(request_);
        requirePermission(*route_, request_.principal, settings_->step_up);
      } catch (const Error& error) {
        return refused(error);
      }
      if (auto too_often = countCaller()) return std::move(*too_often);
    }
    return handle();
  }

  Response refuse(const edge::Refusal& refusal) override { return refusalResponse(refusal, request_.request_id); }

  void finish(Response& response, std::chrono::steady_clock::duration taken) override {
    if (response.status == 401 && route_ != nullptr && (route_->takes_credentials || !credentialOf(request_).empty()))
      guard_.refusals_.note(request_, route_->pattern);
    if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");  // RFC 9110 section 15.5.2
    if (route_ != nullptr) errors_ = route_->errors;
    if (errors_ == ErrorShape::OpenAi && response.status >= 400) reshapeForOpenAi(response);
    settings_->cors.addHeaders(request_.header("origin"), request_.method == "OPTIONS", response);
    response.headers.emplace_back("X-Request-ID", request_.request_id);
    addHeaders(standings_, response);
    if (request_.secure)
      response.headers.emplace_back("Strict-Transport-Security", "max-age=63072000; includeSubDomains");
    const auto seconds = std::chrono::duration<double>(taken).count();
    count(response, seconds);
    if (settings_->access_log && log::enabled(log::Level::Info)) tellAccess(response, seconds);
  }

 private:
  // The route's pattern, also of what was refused; never what a client made up.
  std::string_view endpoint() const { return pattern_.empty() ? kNowhere : pattern_; }

  void count(const Response& response, double seconds) const {
    guard_.metrics_.request(endpoint(), methodSeen(), response.status, seconds);
    if (!request_.head) guard_.sent_.add(static_cast<double>(response.content().size()));
    if (response.status != 429) return;
    const auto refusing =
        std::find_if(standings_.begin(), standings_.end(), [](const Standing& one) { return !one.verdict.allowed; });
    guard_.metrics_.count(
        "aragora_rate_limit_hits_total",
        {{"endpoint", std::string(endpoint())},
         {"limit_type", std::string(refusing == standings_.end() ? kOfRoute : name(refusing->limit.bucket))}});
  }

  // The route in place of the path, no query and no header but the id: nothing that could be a secret or is long.
  void tellAccess(const Response& response, double seconds) const {
    const log::Scope scope({request_.request_id, ""});
    const auto bytes = request_.head || response.upgrade ? 0 : static_cast<std::int64_t>(response.content().size());
    const auto method = methodSeen();
    log::writePlain(log::Level::Info,
                    fmt::format("{} {} {} {} B {:.1f} ms {}", method, endpoint(), response.status, bytes,
                                seconds * 1000, request_.client_address),
                    log::Event::Access,
                    {{"method", method},
                     {"route", endpoint()},
                     {"status", std::int64_t{response.status}},
                     {"bytes", bytes},
                     {"duration_seconds", seconds},
                     {"client", std::string_view(request_.client_address)}});
  }

  bool sameOrigin(std::string_view origin) const {
    return origin == fmt::format("{}://{}", request_.secure ? "https" : "http", lower(request_.host));
  }

  void identifyClient() {
    const auto client = net::clientOf(request_.peer, request_.lines("x-forwarded-for"), request_.lines("forwarded"),
                                      request_.list("x-forwarded-proto"), settings_->trusted_proxies);
    request_.client_address = client.address;
    request_.secure = request_.secure || client.secure;
  }

  // Empty when the head alone decides nothing. What answers is made later, if at all: it may be long.
  std::function<Response()> decideByHead() {
    const auto origin = request_.header("origin");
    auto match = guard_.router_.match(request_.method, request_.path);
    const bool here = inside_ || (match.route != nullptr && match.route->everywhere);
    if (here) pattern_ = match.pattern;
    if (request_.method == "OPTIONS") return preflight(origin);
    if (!here) return [this] { return outside(); };
    if (match.route == nullptr)
      return [this, allowed = std::move(match.allowed)] { return allowed.empty() ? notFound() : notTaken(allowed); };
    route_ = match.route;
    request_.parameters = std::move(match.parameters);
    try {
      // Another site's page must not change anything in the name of its visitor, nor listen in a WebSocket.
      if (!origin.empty() && (request_.method != "GET" || request_.path == "/ws") && !settings_->cors.allows(origin) &&
          !(route_->own_page && sameOrigin(origin)))
        throw Error(Code::Forbidden, "this origin may not call the API", "add it to server.allowed_origins");
      requireKnownQuery(*route_, request_);
    } catch (const Error& error) {
      return answerOf(error);
    }
    return {};
  }

  std::function<Response()> preflight(std::string_view origin) const {
    try {
      return [answer = settings_->cors.preflight(origin)] { return answer; };
    } catch (const Error& error) {
      return answerOf(error);
    }
  }

  std::function<Response()> answerOf(const Error& error) const {
    return [this, error] { return refused(error); };
  }

  std::string asked() const { return guard_.router_.basePath() + request_.path; }

  Response outside() const {
    return errorResponse(Error(Code::NotFound, fmt::format("there is nothing at {}", printable(request_.path, 200)),
                               fmt::format("everything is below {}/", guard_.router_.basePath())),
                         request_.request_id);
  }

  Response notFound() const {
    const auto known = guard_.router_.near(request_.path);
    return errorResponse(Error(Code::NotFound, fmt::format("there is nothing at {}", printable(asked(), 200)),
                               "there are: " + join(known, ", ")),
                         request_.request_id);
  }

  Response notTaken(const std::vector<std::string>& allowed) const {
    auto response = errorResponse(
        Error(Code::MethodNotAllowed, fmt::format("{} takes {}", printable(asked(), 200), join(allowed, ", "))),
        request_.request_id);
    response.headers.emplace_back("Allow", join(allowed, ", "));
    return response;
  }

  // A label of metrics: never what a client made up.
  std::string_view methodSeen() const {
    if (request_.head) return "HEAD";
    return request_.method.empty() ? std::string_view("other") : std::string_view(request_.method);
  }

  // Some routes are not; what leads nowhere is. What was not understood is, when it is known whose it is.
  bool counted() const { return stray_ ? clientIsKnown() : route_ == nullptr || route_->counted; }

  // Whether it is known for whom it asks: many proxies do not say it of WebSockets, or of what they could not read.
  bool clientIsKnown() const {
    return request_.client_address != request_.peer || !net::anyContains(settings_->trusted_proxies, request_.peer);
  }

  // What the head alone says of who asks: the address, and the caller when that needs no look-up.
  LimitsOf limitsByHead() const {
    LimitsOf limits{limitOf(Bucket::Address, networkKey(request_.client_address))};
    if (by_head_) return limits;
    const auto caller = callerNow();
    if (caller) appendLimitsOf(*caller, limits);
    // Handshakes that are refused anyway are counted as requests only; and so are those of a proxy that does not say
    // for whom it asks: they are of all its clients.
    const bool may = !caller || accounts::permits(*caller, route_->permission);
    const bool known = route_->strictly != Bucket::Handshakes || clientIsKnown();
    if (route_->strictly && !ofCaller(*route_->strictly) && may && known)
      limits.push_back(limitOf(*route_->strictly, networkKey(request_.client_address)));
    return limits;
  }

  void appendLimitsOf(const accounts::Principal& caller, LimitsOf& limits) const {
    const auto key = digestKey({caller.name()});
    if (caller.caller != Caller::Nobody && caller.caller != Caller::Anonymous && caller.caller != Caller::Monitor)
      limits.push_back(limitOf(Bucket::Account, key));
    if (route_->strictly && ofCaller(*route_->strictly) && accounts::permits(caller, route_->permission))
      limits.push_back(limitOf(*route_->strictly, key));
  }

  Limit limitOf(Bucket bucket, const LimitKey& key) const {
    const auto found = settings_->per_minute.find(bucket);
    return {bucket, {found == settings_->per_minute.end() ? 0 : found->second}, key};
  }

  bool oneMore() {
    LimitsOf limits;
    if (ofCaller(*route_->strictly))
      limits.push_back(limitOf(*route_->strictly, digestKey({request_.principal.name()})));
    const auto standings = guard_.limits_.countWaiting(std::move(limits), Counting::Take);
    return web::admitted(standings);
  }

  // In a worker, once it is known who asks.
  std::optional<Response> countCaller() {
    if (!route_->counted) return std::nullopt;
    LimitsOf limits;
    appendLimitsOf(request_.principal, limits);
    const auto counted = guard_.limits_.countWaiting(std::move(limits), Counting::Take);
    standings_.insert(standings_.end(), counted.begin(), counted.end());
    return refusalByLimits();
  }

  std::optional<Response> refusalByLimits() const {
    if (web::admitted(standings_)) return std::nullopt;
    return rateLimited(standings_, "requests", request_.request_id);
  }

  bool comesWithoutCredentials(const accounts::Principal& caller) const {
    return route_->credentials_later && credentialOf(request_).empty() &&
           !accounts::permits(caller, route_->permission);
  }

  std::optional<accounts::Principal> callerNow() const {
    if (route_->permission == Permission::Public) return accounts::Principal{};
    return guard_.authenticator_.resolveNow(request_);
  }

  Response refused(const Error& error) const { return errorResponse(error, request_.request_id, request_.base_path); }

  // The dispatcher's catch-all.
  Response handle() {
    try {
      if (route_->strictly) request_.one_more = [this] { return oneMore(); };
      return route_->handler(request_);
    } catch (...) {
      return currentErrorResponse(request_.request_id,
                                  fmt::format("{} {}", request_.method, printable(request_.path, 200)),
                                  request_.base_path);
    }
  }

  Guard& guard_;
  std::shared_ptr<const GuardSettings> settings_;
  Request request_;
  const Route* route_ = nullptr;
  std::string_view pattern_;             // of the path, whatever the method
  ErrorShape errors_ = ErrorShape::Own;  // that route's, also where the request never came to it
  std::function<Response()> by_head_;
  Standings standings_;
  bool inside_ = true;  // the base path
  bool stray_ = false;  // it was not understood
  bool resolved_ = false;
};

Guard::Guard(GuardSettings settings, const Authenticator& authenticator, const Router& router, Limits& limits,
             RefusalLog& refusals, metrics::Registry& metrics, const std::atomic<bool>* memory_scarce)
    : authenticator_(authenticator),
      router_(router),
      limits_(limits),
      refusals_(refusals),
      metrics_(metrics),
      memory_scarce_(memory_scarce),
      received_(metrics.counter("aragora_http_request_body_bytes_total")),
      sent_(metrics.counter("aragora_http_response_body_bytes_total")),
      shed_for_memory_(metrics.counter("aragora_http_shed_total", {{"reason", "memory"}})),
      settings_(std::move(settings)) {}

void Guard::reload(GuardSettings settings) { settings_.set(std::move(settings)); }

std::unique_ptr<edge::Exchange> Guard::open(edge::Request request) {
  return std::make_unique<Exchange>(*this, std::move(request));
}

}  // namespace aragora::web
