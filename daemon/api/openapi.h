// The API's description (OpenAPI 3.1): what is particular about an operation stands in daemon/api/openapi/*.json; who
// may call it, and what every route of its kind answers, is taken from the table of routes, so that it cannot say
// anything else. Pure functions.
#pragma once

#include "daemon/web/router.h"

namespace aragora::api {

// The pieces as one document; an operation that is only another name of one (x-same-as) is a copy of it.
json::object mergedDescription();
// What the two say differently, a line each: routes, operations, query parameters.
std::vector<std::string> differences(const web::Router& router, const json::object& description);
// With what the routes know. Error(Internal) when the two differ.
json::object describe(const web::Router& router, json::object description);

}  // namespace aragora::api
