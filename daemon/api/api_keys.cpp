#include "common/base/text.h"
#include "daemon/api/account_requests.h"

namespace aragora::api {

namespace {
using accounts::Permission;

json::object renderKey(const accounts::ApiKey& key) {
  json::array scopes;
  for (const auto scope : key.scopes) scopes.emplace_back(accounts::scopeName(scope));
  json::object object{{"id", key.id},
                      {"prefix", std::string(accounts::kApiKeyPrefix) + key.id},
                      {"name", key.name},
                      {"scopes", std::move(scopes)},
                      {"created_at", toIso(key.created_at)},
                      {"expires_at", toIso(key.expires_at)},
                      {"last_used", nullptr},
                      {"last_used_at", nullptr},
                      {"revoked_at", nullptr},
                      {"replaced_by", nullptr},
                      {"active", key.live(nowMicros())}};
  if (key.last_used_at) object["last_used"] = object["last_used_at"] = toIso(*key.last_used_at);
  if (key.revoked_at) object["revoked_at"] = toIso(*key.revoked_at);
  if (!key.successor.empty()) object["replaced_by"] = key.successor;
  return object;
}

web::Response renderMade(const accounts::ApiKeys::Made& made) {
  auto body = renderKey(made.key);
  body["key"] = body["api_key"] = made.text.reveal();
  body["message"] = "this key is shown once; keep it";
  return web::jsonResponse(body, 201);
}

// Everybody's without an owner.
web::Response renderList(const web::Request& request, const Services& services,
                         const std::optional<std::string>& owner) {
  const auto page = pageOf(request);
  json::array array;
  for (const auto& key : services.api_keys.list(owner, page)) {
    auto object = renderKey(key);
    if (!owner) object["user"] = json::object{{"id", key.user}, {"email", key.email}};
    array.push_back(std::move(object));
  }
  json::object body{{"keys", array}, {"items", array}, {"count", array.size()}};
  addPage(body, page, services.api_keys.count(owner));
  return web::jsonResponse(body);
}

// By id, or by what lists show as its prefix.
std::string idOf(const web::Request& request) {
  const auto& given = request.parameters.at("id");
  return accounts::meantAsApiKey(given) ? given.substr(accounts::kApiKeyPrefix.size()) : given;
}

// In days, or until when: the SDKs send a time.
std::chrono::hours lifetimeOf(const json::object& body) {
  const auto until = optionalText(body, "expires_at");
  const auto days = requireInteger(body, "expires_in_days", 365, 1, 3650);
  if (until.empty()) return std::chrono::hours(24 * days);
  const auto at = fromIso(until);
  if (!at) throw Error(Code::Validation, "expires_at is no time", "such as 2027-01-13T10:00:00Z");
  return std::chrono::floor<std::chrono::hours>(std::chrono::microseconds(*at - nowMicros()));
}

web::Response create(const web::Request& request, const Services& services) {
  if (auto refusal = refusalWithoutProof(request, services)) return std::move(*refusal);
  const auto body = request.jsonBody();
  accounts::NewApiKey wanted;
  wanted.name = optionalText(body, "name");
  if (const auto scopes = textsOf(body, "scopes")) wanted.scopes = accounts::requireScopes(*scopes);
  wanted.lifetime = lifetimeOf(body);
  return renderMade(services.api_keys.create(request.principal.user, wanted, doerOf(request)));
}

web::Response list(const web::Request& request, const Services& services) {
  return renderList(request, services, request.principal.user);
}

web::Response rotate(const web::Request& request, const Services& services) {
  if (auto refusal = refusalWithoutProof(request, services)) return std::move(*refusal);
  const std::chrono::hours overlap(
      requireInteger(request.jsonBody(), "overlap_hours", 24, 0, accounts::ApiKeys::kLongestOverlap.count()));
  return renderMade(services.api_keys.rotate(idOf(request), request.principal.user, overlap, doerOf(request)));
}

web::Response revoke(const web::Request& request, const Services& services, const std::optional<std::string>& owner) {
  services.api_keys.revoke(idOf(request), owner, doerOf(request));
  return web::jsonResponse(json::object{{"success", true}, {"id", idOf(request)}, {"message", "the key is revoked"}});
}

web::Response revokeOwn(const web::Request& request, const Services& services) {
  return revoke(request, services, request.principal.user);
}

web::Response listAll(const web::Request& request, const Services& services) {
  return renderList(request, services, std::nullopt);
}

web::Response revokeAny(const web::Request& request, const Services& services) {
  return revoke(request, services, std::nullopt);
}

web::Response ticket(const web::Request& request, const Services& services) {
  return web::jsonResponse(json::object{{"ticket", services.tickets.issue(request.principal).reveal()},
                                        {"expires_in", accounts::Tickets::kLifetime.count()}});
}
}  // namespace

void addApiKeyRoutes(web::Router& router, const Services& services) {
  const auto add = [&](const char* method, const char* path, Permission permission, RouteHandler handler) {
    addRoute(router, services, method, path, permission, handler);
  };
  add("POST", "/api/auth/api-keys", Permission::OwnCredentials, create);
  add("POST", "/api/auth/api-key", Permission::OwnCredentials, create);
  addList(router, services, "/api/auth/api-keys", Permission::OwnAccount, list);
  add("POST", "/api/auth/api-keys/{id}/rotate", Permission::OwnCredentials, rotate);
  add("DELETE", "/api/auth/api-keys/{id}", Permission::OwnCredentials, revokeOwn);
  addList(router, services, "/api/admin/api-keys", Permission::Administer, listAll);
  add("DELETE", "/api/admin/api-keys/{id}", Permission::Administer, revokeAny);
  add("POST", "/api/ws-ticket", Permission::ReadDebates, ticket);
}

}  // namespace aragora::api
