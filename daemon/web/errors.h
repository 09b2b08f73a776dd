// The one place where errors become answers.
#pragma once

#include "common/base/error.h"
#include "daemon/edge/exchange.h"
#include "daemon/web/limits.h"

namespace aragora::web {

// {"error", "code", "message", "request_id", "details"?, "hint"?, "retry_after"?}; internals are left out of 5xx. A
// hint that names a route names it below `base_path`.
edge::Response errorResponse(const Error& error, const std::string& request_id, std::string_view base_path = {});
// Renders the exception that is being handled. What the database says is ours alone: 5xx for callers, whole in the log.
edge::Response currentErrorResponse(const std::string& request_id, std::string_view what,
                                    std::string_view base_path = {});
// For requests that were not understood or not served; each status has a code of its own.
edge::Response refusalResponse(const edge::Refusal& refusal, const std::string& request_id);
// 429 with the headers that say when to come back. `what` is counted: "requests".
edge::Response rateLimited(const Standings& standings, const std::string& what, const std::string& request_id);

// The same refusal in the shape of OpenAI's API: {"error": {"message", "type", "param", "code"}}.
void reshapeForOpenAi(edge::Response& response);

}  // namespace aragora::web
