#include "daemon/web/message.h"

#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::web {

std::string_view Request::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

json::object Request::jsonBody() const {
  if (trim(body).empty()) return {};
  const auto type = lower(header("content-type").substr(0, header("content-type").find(';')));
  if (!type.empty() && trim(type) != "application/json" && trim(type) != "text/json") {
    throw Error(Code::UnsupportedMediaType, fmt::format("the body is {}, not application/json", printable(type, 60)),
                "send Content-Type: application/json");
  }
  auto value = parseJson(body, "the request body");
  if (!value.is_object())
    throw Error(Code::Validation, "the request body is not a JSON object", "send an object such as {\"task\": \"…\"}");
  return std::move(value.as_object());
}

std::int64_t Request::integer(std::string_view name, std::int64_t fallback, std::int64_t minimum,
                              std::int64_t maximum) const {
  const auto found = query.find(std::string(name));
  if (found == query.end() || found->second.empty()) return fallback;
  const auto value = parseInteger(found->second);
  if (!value || *value < minimum || *value > maximum) {
    throw Error(Code::Validation,
                fmt::format("query parameter {} must be a whole number from {} to {}", name, minimum, maximum))
        .with(json::array{json::object{{"field", name}, {"message", fmt::format("{} to {}", minimum, maximum)}}});
  }
  return *value;
}

Response jsonResponse(const json::value& value, int status) {
  Response response;
  response.status = status;
  response.body = toJson(value);
  return response;
}

Response errorResponse(const Error& error, const std::string& request_id) {
  const auto& entry = info(error.code());
  std::string text = error.what();
  std::string hint = error.hint();
  if (entry.http_status >= 500) {
    log::warning("request {}: {}", request_id, text);
    // Clients never see internals: hosts, paths and SQL stay in the log.
    if (error.code() == Code::Overloaded)
      text = "the server is busy";
    else if (entry.http_status == 503)
      text = "a service this server needs is not available";
    else
      text = "internal server error";
    hint.clear();
  }
  json::object body{
      {"error", text}, {"code", entry.name}, {"message", text}, {"request_id", request_id}, {"trace_id", request_id}};
  if (!error.details().is_null() && entry.http_status < 500) {
    body["details"] = error.details();
    if (entry.http_status == 400) body["errors"] = error.details();
  }
  if (!hint.empty()) {
    body["hint"] = hint;
    body["suggestion"] = hint;
  }
  Response response;
  response.status = entry.http_status;
  if (entry.http_status == 503 || entry.http_status == 429) {
    body["retry_after"] = 1;
    response.headers.emplace_back("Retry-After", "1");
  }
  response.body = toJson(body);
  return response;
}

}  // namespace aragora::web
