#include "daemon/api/openapi.h"

#include "common/base/embedded_file.h"
#include "common/base/text.h"
#include "daemon/api/api.h"

namespace aragora::api {

const std::vector<EmbeddedFile>& embeddedOpenApi();  // generated from daemon/api/openapi/*.json

namespace {
using accounts::Permission;

constexpr std::string_view kSameAs = "x-same-as";

void merge(json::object& into, const json::object& piece) {
  for (const auto& [name, value] : piece) {
    auto& there = into[name];
    if (there.is_object() && value.is_object())
      merge(there.get_object(), value.get_object());
    else
      there = value;
  }
}

json::object& operationOf(json::object& description, const std::string& method, const std::string& path) {
  return description.at("paths").as_object().at(path).as_object().at(lower(method)).as_object();
}

// Another name for what stands elsewhere: the same but for the name.
void copyNamesake(json::object& description, const std::string& method, const std::string& path) {
  auto& operation = operationOf(description, method, path);
  const std::string same_as(operation.at(kSameAs).as_string());
  const auto words = split(same_as, ' ');
  auto copy = operationOf(description, words.at(0), words.at(1));
  std::string place = words.at(0) == method ? path : method + path;
  for (auto& c : place) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  copy["operationId"] = fmt::format("{}_{}", std::string(copy.at("operationId").as_string()), place);
  copy["description"] = fmt::format("The same as {}.", same_as);
  copy[kSameAs] = same_as;
  operation = std::move(copy);
}

json::array rolesThatMay(Permission permission) {
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

json::array securityOf(const web::Route& route) {
  using accounts::Caller;
  json::array schemes;
  const auto add = [&](const char* scheme) { schemes.push_back(json::object{{scheme, json::array()}}); };
  if (route.permission == Permission::Public) return schemes;
  if (route.credentials_later) schemes.push_back(json::object{});
  if (accounts::permits({.caller = Caller::Operator}, route.permission)) add("token");
  if (accounts::permits({Caller::User, "", accounts::Role::Admin, {}}, route.permission)) add("access");
  if (accounts::scopeFor(route.permission)) add("key");
  if (accounts::permits({.caller = Caller::Monitor}, route.permission)) add("metrics");
  return schemes;
}

// What any route like this one may answer, whatever it is about.
std::vector<std::pair<const char*, const char*>> usualErrors(const web::Route& route, const json::object& operation) {
  const bool is_public = route.permission == Permission::Public;
  const bool changes = route.method != "GET";
  const bool offered = !operation.at("responses").as_object().contains("501");  // else it writes nothing
  std::vector<std::pair<const char*, const char*>> errors = {{"400", "BadRequest"}};
  if (!is_public) errors.emplace_back("401", "Unauthorized");
  if (!is_public || changes) errors.emplace_back("403", "Forbidden");  // the role, or the origin of a page
  if (route.pattern.find('{') != std::string::npos) errors.emplace_back("404", "NotFound");
  errors.emplace_back("413", "TooLarge");
  if (operation.contains("requestBody")) errors.emplace_back("415", "UnsupportedMediaType");
  if (route.counted) errors.emplace_back("429", "TooManyRequests");
  if (route.counted || !route.inline_handler) errors.emplace_back("503", "Unavailable");
  if (changes && offered) errors.emplace_back("507", "StorageFull");
  return errors;
}

json::object ref(std::string_view kind, std::string_view name) {
  return {{"$ref", fmt::format("#/components/{}/{}", kind, name)}};
}

void addHeaders(const web::Route& route, json::object& response) {
  if (response.contains("$ref")) return;  // has its own
  auto& slot = response["headers"];
  auto& headers = slot.is_object() ? slot.get_object() : slot.emplace_object();
  headers["X-Request-ID"] = ref("headers", "X-Request-ID");
  if (!route.counted) return;
  for (const auto* name :
       {"RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"})
    headers[name] = ref("headers", name);
}

void describeOperation(const web::Route& route, json::object& operation) {
  operation["security"] = securityOf(route);
  auto& responses = operation["responses"].as_object();
  for (auto& [status, response] : responses) addHeaders(route, response.as_object());
  for (const auto& [status, name] : usualErrors(route, operation)) {
    if (!responses.contains(status)) responses[status] = ref("responses", name);
  }
  operation["x-permission"] = accounts::permissionName(route.permission);
  operation["x-allowed"] = rolesThatMay(route.permission);
  // What an API key of theirs needs; without it none will do.
  if (const auto scope = accounts::scopeFor(route.permission)) operation["x-scope"] = accounts::scopeName(*scope);
}

std::set<std::string> queryParametersOf(const json::object& operation, const json::object& description) {
  std::set<std::string> names;
  const auto* const parameters = jsonArray(operation, "parameters");
  if (parameters == nullptr) return names;
  for (const auto& given : *parameters) {
    const auto pointer = jsonTextOr(given.as_object(), "$ref", "");
    const auto& parameter =
        pointer.empty()
            ? given.as_object()
            : description.at("components").at("parameters").at(pointer.substr(pointer.rfind('/') + 1)).as_object();
    if (jsonTextOr(parameter, "in", "") == "query") names.insert(jsonTextOr(parameter, "name", ""));
  }
  return names;
}

// By method and path, as routes name them.
std::map<std::string, const json::object*> operationsOf(const json::object& description) {
  std::map<std::string, const json::object*> operations;
  for (const auto& [path, item] : description.at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object())
      operations[fmt::format("{} {}", upper(method), std::string(path))] = &operation.as_object();
  }
  return operations;
}
}  // namespace

json::object mergedDescription() {
  json::object description;
  for (const auto& piece : embeddedOpenApi()) merge(description, parseJson(piece.text, piece.path).as_object());
  std::vector<std::pair<std::string, std::string>> namesakes;
  for (const auto& [name, operation] : operationsOf(description)) {
    const auto words = split(name, ' ');
    if (operation->contains(kSameAs)) namesakes.emplace_back(words.at(0), words.at(1));
  }
  for (const auto& [method, path] : namesakes) copyNamesake(description, method, path);
  return description;
}

std::vector<std::string> differences(const web::Router& router, const json::object& description) {
  std::vector<std::string> found;
  auto operations = operationsOf(description);
  for (const auto& route : router.routes()) {
    if (!route.described) continue;
    const auto name = fmt::format("{} {}", route.method, route.pattern);
    const auto operation = operations.find(name);
    if (operation == operations.end()) {
      found.push_back(name + " is not described");
      continue;
    }
    const std::set<std::string> taken(route.query.begin(), route.query.end());
    if (taken != queryParametersOf(*operation->second, description))
      found.push_back(name + " takes other query parameters than it says");
    operations.erase(operation);
  }
  for (const auto& [name, operation] : operations) found.push_back(name + " is described, but no route");
  return found;
}

json::object describe(const web::Router& router, json::object description) {
  const auto found = differences(router, description);
  if (!found.empty()) throw Error(Code::Internal, "routes and daemon/api/openapi differ: " + join(found, "; "));
  for (const auto& route : router.routes()) {
    if (route.described) describeOperation(route, operationOf(description, route.method, route.pattern));
  }
  return description;
}

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
  auto description = mergedDescription();
  const bool metrics_elsewhere = router.match("GET", "/metrics").route == nullptr;  // server.metrics_listen
  if (metrics_elsewhere) description.at("paths").as_object().erase("/metrics");
  if (!router.basePath().empty()) description.at("servers").as_array().at(0).as_object()["url"] = router.basePath();
  *body = toJson(describe(router, std::move(description)));
}

}  // namespace aragora::api
