// Requests and responses as handlers see them: plain values that know nothing of sockets or Beast.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/accounts/access_token.h"
#include "common/base/error.h"

namespace aragora::web {

struct Request {
  std::string method;  // upper case; HEAD arrives as GET with `head` set
  bool head = false;
  std::string path;                          // decoded, without the version segment: /api/v1/debates is /api/debates
  std::map<std::string, std::string> query;  // decoded
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::string client_address;  // behind trusted proxies: the client's, not the proxy's
  std::string host;
  bool secure = false;  // TLS here or at a trusted proxy
  std::string request_id;
  std::string principal;                   // who was authenticated, empty for nobody
  std::optional<accounts::Access> access;  // what an access token says; its session is checked before the handler
  std::map<std::string, std::string> parameters;  // {id} of the route

  std::string_view header(std::string_view name) const;
  // Body as a JSON object; an empty body is {}. Throws InvalidJson, UnsupportedMediaType or Validation.
  json::object jsonBody() const;
  // A query parameter in bounds; throws Validation otherwise.
  std::int64_t integer(std::string_view name, std::int64_t fallback, std::int64_t minimum, std::int64_t maximum) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::shared_ptr<const std::string> shared_body;  // cached bodies, shared with the cache; used instead of `body`
  std::vector<std::pair<std::string, std::string>> headers;

  std::string_view content() const { return shared_body ? std::string_view(*shared_body) : std::string_view(body); }
};

Response jsonResponse(const json::value& value, int status = 200);
// {"error", "code", "message", "request_id", "details"?, "hint"?, "retry_after"?}; internals are left out of 5xx.
Response errorResponse(const Error& error, const std::string& request_id);

}  // namespace aragora::web
