#include "common/accounts/self_service.h"

#include "common/base/text.h"
#include "daemon/api/account_requests.h"
#include "daemon/api/setup_page.h"
#include "daemon/web/errors.h"

namespace aragora::api {

namespace {
using accounts::Permission;

accounts::NewAccount accountOf(const json::object& body) {
  return {requireText(body, "email"), optionalText(body, "name"), Secret(requireText(body, "password"))};
}

web::Response enlist(const web::Request& request, const Services& services) {
  if (!services.options.registration)
    throw Error(Code::Forbidden, "nobody can register here", "ask an administrator for an account");
  const auto account = accountOf(request.jsonBody());
  const auto client = clientOf(request);
  const auto user = services.self_service.enlist(account, client);
  auto answer = renderLogin(services.accounts.logIn(account.email, account.password, client), request, 201);
  auto body = parseJson(answer.body, "our own answer").as_object();
  body["user_id"] = user.id;
  body["email"] = user.email;
  body["name"] = user.name;
  body["requires_verification"] = false;
  body["created_at"] = toIso(user.created_at);
  answer.body = toJson(body);
  return answer;
}

// The names that clients send for it.
std::optional<json::object> objectOf(const json::object& body, std::string_view field) {
  const auto* const value = body.if_contains(field);
  if (value == nullptr || value->is_null()) return std::nullopt;
  if (!value->is_object()) throw Error(Code::Validation, fmt::format("{} is no object", field));
  return value->get_object();
}

web::Response changeProfile(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  accounts::ProfileChange change;
  if (const auto* name = body.if_contains("name"); name != nullptr && !name->is_null())
    change.name = optionalText(body, "name");
  change.preferences = objectOf(body, "preferences");
  if (const auto email = optionalText(body, "email"); !email.empty()) {
    // Clients send the whole profile back: the address that it is already is no change.
    const auto now = services.database.reading([&](database::Connection& connection) {
      return accounts::requireUserById(connection, request.principal.user).email;
    });
    if (accounts::normalisedEmail(email) != now) {
      if (auto refusal = refusalWithoutProof(request, services)) return std::move(*refusal);
      change.email = email;
    }
  }
  const auto user = services.self_service.change(request.principal.user, change, doerOf(request));
  auto answer = renderUser(user);
  answer["user"] = renderUser(user);
  return web::jsonResponse(answer);
}

web::Response changePassword(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  services.self_service.changePassword(request.principal.user, Secret(requireText(body, "current_password")),
                                       Secret(requireText(body, "new_password")), doerOf(request));
  return web::jsonResponse(
      json::object{{"message", "the password is changed; log in again"}, {"sessions_revoked", true}});
}

web::Response resetPassword(const web::Request& request, const Services& services) {
  const auto body = request.jsonBody();
  services.self_service.resetPassword(requireText(body, "token"), Secret(requireText(body, "new_password")),
                                      clientOf(request));
  return web::jsonResponse(json::object{{"message", "the password is changed; log in with it"}});
}

// Whether there is such an account is not said, nor is a mail promised that nobody sends.
web::Response forgot(const web::Request&, const Services&) {
  throw Error(
      Code::NotOffered, "this server sends no mail",
      "ask an administrator for a token that is good once (aragora user reset), and send it with a new password "
      "to POST /api/auth/password/reset");
}

web::Response setUp(const web::Request& request, const Services& services) {
  if (request.isForm()) return setUpByForm(request, services);
  const auto body = request.jsonBody();
  const auto user = services.self_service.setUp(requireText(body, "token"), accountOf(body), clientOf(request));
  return web::jsonResponse(json::object{{"message", "log in, and enrol a second factor"}, {"user", renderUser(user)}},
                           201);
}

// What the link itself shows: how it is used. It says nothing of whether the token is good.
web::Response showSetUp(const web::Request& request, const Services&) {
  if (wantsPage(request)) return setUpPage(request.text("token"));
  return web::jsonResponse(json::object{
      {"message", "POST here creates the first administrator, once"},
      {"body", json::object{{"token", "of the link"}, {"email", "…"}, {"password", "15 characters or more"}}}});
}

accounts::User userOf(const web::Request& request, const Services& services) {
  return services.database.reading([&](database::Connection& connection) {
    return accounts::requireUserById(connection, request.parameters.at("id"));
  });
}

web::Response users(const web::Request& request, const Services& services) {
  const auto page = pageOf(request);
  json::array array;
  for (const auto& user : services.accounts.list(page)) array.push_back(renderUser(user));
  json::object body{{"users", std::move(array)}};
  addPage(body, page, services.accounts.count());
  return web::jsonResponse(body);
}

web::Response reset(const web::Request& request, const Services& services) {
  const auto token = services.self_service.issueReset(userOf(request, services).email, doerOf(request));
  return web::jsonResponse(
      json::object{{"token", token.reveal()},
                   {"expires_in", accounts::SelfService::kResetLives.count() * 3600},
                   {"message", fmt::format("good once: POST {}/api/auth/password/reset", request.base_path)}});
}

web::Response sessionsOf(const web::Request& request, const Services& services) {
  const auto page = pageOf(request);
  const auto user = userOf(request, services);
  return renderSessions(services.accounts.sessions(user.id, page), request.principal.access.value().session, page,
                        services.accounts.countSessions(user.id));
}

web::Response endSessionsOf(const web::Request& request, const Services& services) {
  const auto& user = request.parameters.at("id");
  const auto ended = services.accounts.endSessionsOf(user, doerOf(request));
  return web::jsonResponse(json::object{{"success", true}, {"user_id", user}, {"sessions_revoked", ended}});
}

web::Response endSessionOf(const web::Request& request, const Services& services) {
  const auto& session = request.parameters.at("session");
  services.accounts.endSession(userOf(request, services).id, session, doerOf(request));
  return web::jsonResponse(json::object{{"success", true}, {"session_id", session}, {"message", "it has ended"}});
}

web::Response unlock(const web::Request& request, const Services& services) {
  services.accounts.unlock(userOf(request, services).email, doerOf(request));
  return web::jsonResponse(json::object{{"success", true}});
}
}  // namespace

void addSelfServiceRoutes(web::Router& router, const Services& services) {
  // What costs a hash or guesses a token is slow from one network.
  const auto slowly = [&services](web::Bucket bucket, RouteHandler handler) -> web::Handler {
    return [&services, bucket, handler](const web::Request& request) {
      const auto standings = services.limits.countWaiting(
          {{bucket, {services.options.logins_per_minute}, web::networkKey(request.client_address)}},
          web::Counting::Take);
      if (!web::admitted(standings)) return web::rateLimited(standings, "tries", request.request_id);
      return handler(request, services);
    };
  };
  using web::Bucket;
  const auto open = [&](const char* path, Bucket bucket, RouteHandler handler) {
    router.add({.method = "POST",
                .pattern = path,
                .handler = slowly(bucket, handler),
                .body_limit = kCredentialsBodyLimit,
                .takes_credentials = true});
  };
  open("/api/auth/register", Bucket::Tries, enlist);
  for (const auto* path : {"/api/auth/password/reset", "/api/auth/reset-password"})
    open(path, Bucket::Reset, resetPassword);
  for (const auto* path : {"/api/auth/password/forgot", "/api/auth/forgot-password"}) open(path, Bucket::Reset, forgot);
  router.add({.method = "POST",
              .pattern = "/api/auth/setup",
              .handler = slowly(Bucket::Reset, setUp),
              .body_limit = kCredentialsBodyLimit,
              .takes_credentials = true,
              .own_page = true});
  router.add({.method = "GET",
              .pattern = "/api/auth/setup",
              .handler = [&services](const web::Request& request) { return showSetUp(request, services); },
              .query = {"token"},
              .inline_handler = true});
  for (const auto* path : {"/api/auth/password/change", "/api/auth/change-password"})  // the SDKs differ
    router.add({.method = "POST",
                .pattern = path,
                .permission = Permission::OwnCredentials,
                .handler = slowly(Bucket::Tries, changePassword),
                .body_limit = kCredentialsBodyLimit});
  constexpr std::size_t kProfileLimit = 32 * 1024;
  for (const auto* method : {"PATCH", "PUT", "POST"})
    addRoute(router, services, method, "/api/auth/me", Permission::OwnCredentials, changeProfile, kProfileLimit);
  addList(router, services, "/api/admin/users", Permission::Administer, users);
  addRoute(router, services, "POST", "/api/admin/users/{id}/reset", Permission::Administer, reset);
  const auto administer = [&](const char* method, const char* path, RouteHandler handler) {
    addRoute(router, services, method, path, Permission::Administer, handler);
  };
  addList(router, services, "/api/admin/users/{id}/sessions", Permission::Administer, sessionsOf);
  administer("DELETE", "/api/admin/users/{id}/sessions", endSessionsOf);
  administer("DELETE", "/api/admin/users/{id}/sessions/{session}", endSessionOf);
  addRoute(router, services, "POST", "/api/admin/users/{id}/unlock", Permission::Administer, unlock);
}

}  // namespace aragora::api
