// Private to daemon/api: what the routes about accounts take out of a request, and how they show people and tokens.
#pragma once

#include "daemon/api/api.h"

namespace aragora::api {

inline constexpr std::size_t kCredentialsBodyLimit = 8192;

accounts::Client clientOf(const web::Request& request);
// Who does something to an account, as the audit log names it.
accounts::Doer doerOf(const web::Request& request);
// Of a route that only a session may call.
const accounts::Access& accessOf(const web::Request& request);
// Error(Validation) when it is missing or no text.
std::string requireText(const json::object& body, std::string_view field);
// Empty without the field or with null; Error(Validation) for what is no text.
std::string optionalText(const json::object& body, std::string_view field);
// Every one of the texts; Error(Validation) for what is no list of texts. nullopt without the field.
std::optional<std::vector<std::string>> textsOf(const json::object& body, std::string_view field);
// Whole number within the bounds, or Error(Validation).
std::int64_t requireInteger(const json::object& body, std::string_view field, std::int64_t fallback,
                            std::int64_t minimum, std::int64_t maximum);

// For what an access token alone is not enough: the body's `password` (or `current_password`) or `code` proves who
// sends it. The answer when too many were tried, else nullopt; throws what proveAgain() throws.
std::optional<web::Response> refusalWithoutProof(const web::Request& request, const Services& services);

json::object renderUser(const accounts::User& user);
// The tokens twice: the clients of the original read them at the top or under `tokens`. A login that waits for its
// second factor has a pending token instead.
web::Response renderLogin(const accounts::Login& login, const web::Request& request, int status = 200);

// Of a list that may be long: ?limit= (50, at most 200) and ?offset=.
accounts::Page pageOf(const web::Request& request);
// `limit` and `offset` as they were taken, and how many there are in all.
void addPage(json::object& body, const accounts::Page& page, std::int64_t total);
// Where somebody is logged in; `current` is the session that asks; `total` of all pages.
web::Response renderSessions(const std::vector<accounts::Session>& sessions, std::string_view current,
                             const accounts::Page& page, std::int64_t total);

using RouteHandler = web::Response (*)(const web::Request&, const Services&);
// A GET that answers a page.
void addList(web::Router& router, const Services& services, const char* path, accounts::Permission permission,
             RouteHandler handler);
// A route whose handler takes the services.
void addRoute(web::Router& router, const Services& services, const char* method, const char* path,
              accounts::Permission permission, RouteHandler handler, std::size_t body_limit = kCredentialsBodyLimit);

}  // namespace aragora::api
