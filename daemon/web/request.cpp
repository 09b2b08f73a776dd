#include "daemon/web/request.h"

#include "common/base/error.h"
#include "common/base/json_names.h"
#include "common/base/text.h"
#include "daemon/edge/target.h"

namespace aragora::web {

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
  if (const auto twice = repeatedName(body))
    throw Error(Code::Validation, fmt::format("{} is given more than once", printable(*twice, 60)), "give it once");
  return std::move(value.as_object());
}

bool Request::isForm() const {
  const auto type = header("content-type");
  return lower(trim(type.substr(0, type.find(';')))) == "application/x-www-form-urlencoded";
}

std::map<std::string, std::string> Request::form() const {
  auto fields = edge::parseTarget(fmt::format("/?{}", trim(body)));
  if (!fields) throw Error(Code::Validation, "the form cannot be read");
  return std::move(fields->query);
}

std::int64_t Request::integer(std::string_view name, std::int64_t fallback, std::int64_t minimum,
                              std::int64_t maximum) const {
  const auto given = text(name);
  if (given.empty()) return fallback;
  const bool digits = given.find_first_not_of("0123456789") == std::string::npos;
  const auto value = parseInteger(given);
  if (digits && (!value || *value > maximum)) return maximum;  // however large
  if (!value || *value < minimum) {
    throw Error(Code::Validation,
                fmt::format("query parameter {} must be a whole number of at least {}", name, minimum))
        .with(json::array{json::object{{"field", name}, {"message", fmt::format("{} to {}", minimum, maximum)}}});
  }
  return *value;
}

bool Request::flag(std::string_view name, bool fallback) const {
  if (query.count(std::string(name)) == 0) return fallback;
  const auto given = text(name);
  if (given == "true" || given == "1") return true;
  if (given == "false" || given == "0") return false;
  throw Error(Code::Validation, fmt::format("query parameter {} must be true or false", name));
}

std::string Request::text(std::string_view name) const {
  const auto found = query.find(std::string(name));
  return found == query.end() ? std::string() : found->second;
}

Response jsonResponse(const json::value& value, int status) {
  Response response;
  response.status = status;
  response.body = toJson(value);
  return response;
}

}  // namespace aragora::web
