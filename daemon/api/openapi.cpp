#include "common/base/embedded_file.h"
#include "common/base/text.h"
#include "daemon/api/api.h"

namespace aragora::api {

const std::vector<EmbeddedFile>& embeddedOpenApi();  // generated from daemon/api/openapi.json

namespace {
json::array rolesThatMay(accounts::Permission permission) {
  using accounts::Caller;
  using accounts::Role;
  json::array who;
  for (const auto role : {Role::Viewer, Role::Member, Role::Admin}) {
    if (accounts::permits({Caller::User, "", role, {}}, permission)) who.emplace_back(accounts::roleName(role));
  }
  if (accounts::permits({.caller = Caller::Operator}, permission)) who.emplace_back("api_token");
  if (accounts::permits({.caller = Caller::Monitor}, permission)) who.emplace_back("metrics_token");
  return who;
}

// Who may call, and with what: from the table of routes, so that it cannot say anything else.
void describe(const web::Route& route, json::object& operation) {
  operation["x-permission"] = accounts::permissionName(route.permission);
  operation["x-allowed"] = rolesThatMay(route.permission);
  // What an API key of theirs needs; without it none will do.
  if (const auto scope = accounts::scopeFor(route.permission)) operation["x-scope"] = accounts::scopeName(*scope);
  if (route.permission == accounts::Permission::Public) {
    operation["security"] = json::array();
  } else {
    auto& responses = operation["responses"].as_object();
    for (const auto* status : {"401", "403"}) {
      if (!responses.contains(status)) responses[status] = json::object{{"$ref", "#/components/responses/Error"}};
    }
  }
  if (!route.query.empty()) operation["x-query"] = json::array(route.query.begin(), route.query.end());
}

std::string describe(const web::Router& router) {
  auto document = parseJson(embeddedOpenApi().at(0).text, "the API description").as_object();
  auto& paths = document["paths"].as_object();
  for (const auto& route : router.routes()) {
    auto* const path = paths.if_contains(route.pattern);
    auto* const operation = path == nullptr ? nullptr : path->as_object().if_contains(lower(route.method));
    if (operation != nullptr) describe(route, operation->as_object());
  }
  return toJson(document);
}
}  // namespace

void addOpenApiRoutes(web::Router& router) {
  constexpr const char* kPaths[] = {"/api/openapi.json", "/openapi.json", "/api/docs/openapi.json"};
  const auto body = std::make_shared<std::string>();  // shared with the routes that answer it
  for (const auto* path : kPaths) {
    router.add({.method = "GET",
                .pattern = path,
                .handler =
                    [body](const web::Request&) {
                      web::Response response;
                      response.shared_body = body;
                      return response;
                    },
                .inline_handler = true});
  }
  *body = describe(router);
}

}  // namespace aragora::api
