#include "daemon/api/account_requests.h"

#include "common/base/text.h"
#include "daemon/web/errors.h"

namespace aragora::api {

accounts::Client clientOf(const web::Request& request) {
  return {request.client_address, std::string(request.header("user-agent")), request.request_id};
}

accounts::Doer doerOf(const web::Request& request) { return {request.principal.name(), clientOf(request)}; }

const accounts::Access& accessOf(const web::Request& request) { return request.principal.access.value(); }

std::string requireText(const json::object& body, std::string_view field) {
  auto text = jsonTextOr(body, field, "");
  if (text.empty()) throw Error(Code::Validation, fmt::format("{} is missing or no text", field));
  return text;
}

std::string optionalText(const json::object& body, std::string_view field) {
  const auto* const value = body.if_contains(field);
  if (value == nullptr || value->is_null()) return {};
  if (!value->is_string()) throw Error(Code::Validation, fmt::format("{} is no text", field));
  return std::string(value->get_string());
}

std::optional<std::vector<std::string>> textsOf(const json::object& body, std::string_view field) {
  const auto* const value = body.if_contains(field);
  if (value == nullptr || value->is_null()) return std::nullopt;
  const auto refuse = [&] { throw Error(Code::Validation, fmt::format("{} is no list of texts", field)); };
  if (!value->is_array()) refuse();
  std::vector<std::string> texts;
  for (const auto& element : value->get_array()) {
    if (!element.is_string()) refuse();
    texts.emplace_back(element.get_string());
  }
  return texts;
}

std::int64_t requireInteger(const json::object& body, std::string_view field, std::int64_t fallback,
                            std::int64_t minimum, std::int64_t maximum) {
  const auto* const value = body.if_contains(field);
  if (value == nullptr || value->is_null()) return fallback;
  const auto number = jsonInteger(body, field);
  if (!number || *number < minimum || *number > maximum)
    throw Error(Code::Validation, fmt::format("{} must be a whole number from {} to {}", field, minimum, maximum));
  return *number;
}

std::optional<web::Response> refusalWithoutProof(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  const auto either = [&](const char* field, const char* another) {
    auto text = optionalText(body, field);
    auto other = optionalText(body, another);
    return text.empty() ? other : text;
  };
  const Secret password(either("password", "current_password"));
  const auto code = either("code", "mfa_code");
  const auto prove = [&] { services.accounts.proveAgain(accessOf(request), password, code, clientOf(request)); };
  if (password.size() == 0) {
    prove();
    return std::nullopt;
  }
  // Whoever has somebody's token must not guess the password with it; a right one costs nothing.
  const web::LimitsOf limits{{web::Bucket::Tries,
                              {services.options.logins_per_minute},
                              web::digestKey({"proof", request.principal.user, request.client_address})}};
  const auto standings = services.limits.countWaiting(limits, web::Counting::Take);
  if (!web::admitted(standings)) return web::rateLimited(standings, "wrong passwords", request.request_id);
  prove();
  services.limits.countWaiting(limits, web::Counting::GiveBack);
  return std::nullopt;
}

json::object renderUser(const accounts::User& user) {
  json::object object{{"id", user.id},
                      {"email", user.email},
                      {"name", user.name},
                      {"role", accounts::roleName(user.role)},
                      {"roles", json::array{json::string(accounts::roleName(user.role))}},
                      {"is_active", user.active},
                      {"email_verified", user.email_verified},
                      {"mfa_enabled", user.second_factor},
                      {"created_at", toIso(user.created_at)},
                      {"updated_at", toIso(user.updated_at)},
                      {"last_login_at", nullptr}};
  if (user.last_login_at) object["last_login_at"] = toIso(*user.last_login_at);
  if (auto preferences = tryParseJson(user.preferences)) object["preferences"] = std::move(*preferences);
  return object;
}

web::Response renderLogin(const accounts::Login& login, const web::Request& request, int status) {
  if (!login.pending_token.empty())
    return web::jsonResponse(json::object{
        {"mfa_required", true},
        {"pending_token", login.pending_token},
        {"message", fmt::format("send a code to {}/api/auth/mfa/verify within five minutes", request.base_path)}});
  const json::object tokens{{"access_token", login.access_token},
                            {"refresh_token", login.refresh_token},
                            {"token_type", "Bearer"},
                            {"expires_in", login.access_expires_at - nowMicros() / 1'000'000},
                            {"expires_at", toIso(login.access_expires_at * 1'000'000)}};
  json::object body = tokens;
  body["tokens"] = tokens;
  body["user"] = renderUser(login.user);
  return web::jsonResponse(body, status);
}

accounts::Page pageOf(const web::Request& request) {
  return {request.integer("limit", 50, 1, 200), request.integer("offset", 0, 0, 100'000'000)};
}

void addPage(json::object& body, const accounts::Page& page, std::int64_t total) {
  body["total"] = total;
  body["limit"] = page.limit;
  body["offset"] = page.offset;
}

web::Response renderSessions(const std::vector<accounts::Session>& sessions, std::string_view current,
                             const accounts::Page& page, std::int64_t total) {
  json::array array;
  for (const auto& session : sessions) {
    const bool own = session.id == current;
    array.push_back(json::object{{"id", session.id},
                                 {"session_id", session.id},
                                 {"user_id", session.user},
                                 {"device", session.device},
                                 {"device_name", session.device},
                                 {"ip_address", session.address},
                                 {"created_at", toIso(session.created_at)},
                                 {"last_active", toIso(session.last_used_at)},
                                 {"last_activity", toIso(session.last_used_at)},
                                 {"expires_at", toIso(session.expires_at)},
                                 {"current", own},
                                 {"is_current", own}});
  }
  json::object body{{"sessions", std::move(array)}};
  addPage(body, page, total);
  return web::jsonResponse(body);
}

void addList(web::Router& router, const Services& services, const char* path, accounts::Permission permission,
             RouteHandler handler) {
  router.add({.method = "GET",
              .pattern = path,
              .permission = permission,
              .handler = [&services, handler](const web::Request& request) { return handler(request, services); },
              .query = {"limit", "offset"}});
}

void addRoute(web::Router& router, const Services& services, const char* method, const char* path,
              accounts::Permission permission, RouteHandler handler, std::size_t body_limit) {
  router.add({.method = method,
              .pattern = path,
              .permission = permission,
              .handler = [&services, handler](const web::Request& request) { return handler(request, services); },
              .body_limit = body_limit});
}

}  // namespace aragora::api
