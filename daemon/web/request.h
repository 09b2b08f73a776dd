// A request as handlers see it: what came over the wire, and what the guard found out about it.
#pragma once

#include "common/accounts/permissions.h"
#include "common/base/json.h"
#include "daemon/edge/message.h"

namespace aragora::web {

using edge::Response;

struct Request : edge::Request {
  std::string request_id;
  std::string client_address;  // behind trusted proxies: the client's, not the proxy's
  accounts::Principal principal;
  std::map<std::string, std::string> parameters;  // {id} of the route
  std::string base_path;                          // that everything is below; empty at the root
  // A handler that does several of what the route's own limit counts calls it for each but the first: whether one more
  // is allowed. In a worker.
  std::function<bool()> one_more;

  // Body as a JSON object; an empty body is {}. Throws InvalidJson, UnsupportedMediaType or Validation.
  json::object jsonBody() const;
  // A body as a page's form sends it; Error(Validation) for what cannot be read.
  bool isForm() const;
  std::map<std::string, std::string> form() const;
  // A query parameter; `fallback` without one. Above `maximum` it is `maximum`; throws Validation for what is no whole
  // number or below `minimum`.
  std::int64_t integer(std::string_view name, std::int64_t fallback, std::int64_t minimum, std::int64_t maximum) const;
  // true, false, 1 or 0. Throws Validation for anything else, nothing among it.
  bool flag(std::string_view name, bool fallback) const;
  // Empty without one.
  std::string text(std::string_view name) const;
};

Response jsonResponse(const json::value& value, int status = 200);

}  // namespace aragora::web
