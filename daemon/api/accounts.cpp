#include "common/base/text.h"
#include "common/config/catalogue.h"
#include "daemon/api/api.h"
#include "daemon/web/guard.h"
#include "daemon/web/rate_limiter.h"

namespace aragora::api {

namespace key = config::key;

namespace {
constexpr std::size_t kBodyLimit = 8192;

accounts::Client clientOf(const web::Request& request) {
  return {request.client_address, std::string(request.header("user-agent")), request.request_id};
}

json::object renderUser(const accounts::User& user) {
  json::object object{{"id", user.id},
                      {"email", user.email},
                      {"name", user.name},
                      {"role", user.role},
                      {"roles", json::array{json::string(user.role)}},
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

const accounts::Access& requireAccess(const web::Request& request) {
  if (!request.access) throw Error(Code::Unauthorized, "this needs an access token", "log in: POST /api/auth/login");
  return *request.access;
}

// Guessing is slow from one address, and for one account from all of them.
class LoginLimits {
 public:
  explicit LoginLimits(std::int64_t per_minute) : by_address_(per_minute), by_account_(per_minute) {}
  std::optional<web::Response> refusal(const web::Request& request, const std::string& email) {
    const auto now = std::chrono::steady_clock::now();
    for (auto* const taken : {&by_address_, &by_account_}) {
      const auto decision =
          taken->take(taken == &by_address_ ? request.client_address : accounts::normalisedEmail(email), now);
      if (!decision.allowed) return web::rateLimited(decision, "logins", request.request_id);
    }
    return std::nullopt;
  }

 private:
  web::RateLimiter by_address_;
  web::RateLimiter by_account_;
};

web::Response logIn(const web::Request& request, const Services& services, LoginLimits& limits) {
  const auto body = request.jsonBody();
  const auto email = requireText(body, "email");
  const Secret password(requireText(body, "password"));
  if (auto refusal = limits.refusal(request, email)) return std::move(*refusal);
  return renderLogin(services.accounts.logIn(email, password, clientOf(request)));
}

web::Response refresh(const web::Request& request, const Services& services) {
  return renderLogin(services.accounts.refresh(requireText(request.jsonBody(), "refresh_token"), clientOf(request)));
}

web::Response logOut(const web::Request& request, const Services& services) {
  services.accounts.logOut(requireAccess(request), clientOf(request));
  return web::jsonResponse(json::object{{"logged_out", true}});
}

web::Response logOutEverywhere(const web::Request& request, const Services& services) {
  const auto ended = services.accounts.logOutEverywhere(requireAccess(request), clientOf(request));
  return web::jsonResponse(json::object{{"logged_out", true}, {"sessions_revoked", ended}});
}

web::Response me(const web::Request& request, const Services& services) {
  return web::jsonResponse(renderUser(services.accounts.requireLive(requireAccess(request))));
}
}  // namespace

void addAccountRoutes(web::Router& router, const Services& services) {
  const auto route = [&services](web::Response (*handler)(const web::Request&, const Services&)) {
    return [&services, handler](const web::Request& request) { return handler(request, services); };
  };
  const auto limits = std::make_shared<LoginLimits>(services.config.integer(key::kLoginRate));
  router.add({.method = "POST",
              .pattern = "/api/auth/login",
              .handler = [&services, limits](const web::Request& request) { return logIn(request, services, *limits); },
              .open = true,
              .body_limit = kBodyLimit});
  router.add({.method = "POST",
              .pattern = "/api/auth/refresh",
              .handler = route(refresh),
              .open = true,
              .body_limit = kBodyLimit});
  router.add({.method = "POST", .pattern = "/api/auth/logout", .handler = route(logOut), .own_account = true});
  router.add(
      {.method = "POST", .pattern = "/api/auth/logout-all", .handler = route(logOutEverywhere), .own_account = true});
  router.add({.method = "GET", .pattern = "/api/auth/me", .handler = route(me)});
}

}  // namespace aragora::api
