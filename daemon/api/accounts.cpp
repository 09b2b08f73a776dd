#include "common/base/text.h"
#include "daemon/api/api.h"
#include "daemon/web/errors.h"

namespace aragora::api {

namespace {
constexpr std::size_t kBodyLimit = 8192;

accounts::Client clientOf(const web::Request& request) {
  return {request.client_address, std::string(request.header("user-agent")), request.request_id};
}

json::object renderUser(const accounts::User& user) {
  json::object object{{"id", user.id},
                      {"email", user.email},
                      {"name", user.name},
                      {"role", accounts::roleName(user.role)},
                      {"roles", json::array{json::string(accounts::roleName(user.role))}},
                      {"is_active", user.active},
                      {"mfa_enabled", false},
                      {"created_at", toIso(user.created_at)},
                      {"updated_at", toIso(user.updated_at)},
                      {"last_login_at", nullptr}};
  if (user.last_login_at) object["last_login_at"] = toIso(*user.last_login_at);
  return object;
}

// The tokens twice: the clients of the original read them at the top or under `tokens`.
web::Response renderLogin(const accounts::Login& login) {
  const json::object tokens{{"access_token", login.access_token},
                            {"refresh_token", login.refresh_token},
                            {"token_type", "Bearer"},
                            {"expires_in", login.access_expires_at - nowMicros() / 1'000'000},
                            {"expires_at", toIso(login.access_expires_at * 1'000'000)}};
  json::object body = tokens;
  body["tokens"] = tokens;
  body["user"] = renderUser(login.user);
  return web::jsonResponse(body);
}

std::string requireText(const json::object& body, std::string_view field) {
  auto text = jsonTextOr(body, field, "");
  if (text.empty()) throw Error(Code::Validation, fmt::format("{} is missing or no text", field));
  return text;
}

// The route's permission: nobody else comes here.
const accounts::Access& accessOf(const web::Request& request) { return request.principal.access.value(); }

web::LimitKey pairKey(const std::string& email, const std::string& address) {
  const auto network = web::networkKey(address);
  return web::digestKey({email, {reinterpret_cast<const char*>(network.words.data()), sizeof network.words}});
}

// Guessing is slow from one network and, over all of them, for one account. Counted before the password is looked at,
// so that guesses at the same moment do not pass together, and given back when it was right. An account cannot be
// locked by strangers: a right password from a network that has logged in to it before is always taken.
web::LimitsOf loginLimits(const std::string& email, const std::string& address, std::int64_t per_minute) {
  constexpr std::int64_t kNetworks = 20;
  using web::Bucket;
  return {{Bucket::LoginPair, {per_minute}, pairKey(email, address)},
          {Bucket::LoginNetwork, {per_minute}, web::networkKey(address)},
          {Bucket::LoginAccount, {per_minute * kNetworks}, web::digestKey({email})}};
}

bool hasLoggedInFrom(const std::string& email, const std::string& address, accounts::Accounts& accounts) {
  const auto known = accounts.addressesOf(email);
  return std::any_of(known.begin(), known.end(),
                     [&](const auto& other) { return web::networkKey(other) == web::networkKey(address); });
}

web::Response logIn(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  const auto email = accounts::normalisedEmail(requireText(body, "email"));
  const Secret password(requireText(body, "password"));
  const auto limits = loginLimits(email, request.client_address, services.options.logins_per_minute);
  const auto standings = services.limits.countWaiting(limits, web::Counting::Take);
  const bool counted = web::admitted(standings);
  if (!counted && !hasLoggedInFrom(email, request.client_address, services.accounts))
    return web::rateLimited(standings, "failed logins", request.request_id);
  try {
    auto response = renderLogin(services.accounts.logIn(email, password, clientOf(request)));
    if (counted) services.limits.countWaiting(limits, web::Counting::GiveBack);
    return response;
  } catch (const Error& error) {
    const bool wrong = error.code() == Code::Unauthorized;
    if (!wrong && counted) services.limits.countWaiting(limits, web::Counting::GiveBack);
    if (wrong && !counted) return web::rateLimited(standings, "failed logins", request.request_id);
    throw;
  }
}

web::Response refresh(const web::Request& request, const Services& services) {
  return renderLogin(services.accounts.refresh(requireText(request.jsonBody(), "refresh_token"), clientOf(request)));
}

web::Response logOut(const web::Request& request, const Services& services) {
  services.accounts.logOut(accessOf(request), clientOf(request));
  return web::jsonResponse(json::object{{"logged_out", true}});
}

web::Response logOutEverywhere(const web::Request& request, const Services& services) {
  const auto ended = services.accounts.logOutEverywhere(accessOf(request), clientOf(request));
  return web::jsonResponse(json::object{{"logged_out", true}, {"sessions_revoked", ended}});
}

web::Response me(const web::Request& request, const Services& services) {
  return web::jsonResponse(renderUser(services.accounts.requireLive(accessOf(request))));
}
}  // namespace

void addAccountRoutes(web::Router& router, const Services& services) {
  const auto route = [&services](web::Response (*handler)(const web::Request&, const Services&)) {
    return [&services, handler](const web::Request& request) { return handler(request, services); };
  };
  using accounts::Permission;
  router.add({.method = "POST", .pattern = "/api/auth/login", .handler = route(logIn), .body_limit = kBodyLimit});
  router.add({.method = "POST",
              .pattern = "/api/auth/refresh",
              .handler = route(refresh),
              .body_limit = kBodyLimit,
              .strictly = web::Bucket::Refresh,
              .takes_credentials = true});
  const auto own = [&](const char* method, const char* path, auto handler) {
    router.add({.method = method, .pattern = path, .permission = Permission::OwnAccount, .handler = route(handler)});
  };
  own("POST", "/api/auth/logout", logOut);
  own("POST", "/api/auth/logout-all", logOutEverywhere);
  own("GET", "/api/auth/me", me);
}

}  // namespace aragora::api
