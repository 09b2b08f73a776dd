#include "daemon/web/errors.h"

#include "common/base/log.h"
#include "common/base/text.h"
#include "common/database/database.h"

namespace aragora::web {

namespace {
// Of requests that were not understood or not served, by their status. Where an Error has the same status, its name.
constexpr std::pair<int, std::string_view> kRefusals[] = {
    {400, "BAD_REQUEST"},         {405, "METHOD_NOT_ALLOWED"},
    {413, "PAYLOAD_TOO_LARGE"},   {414, "URI_TOO_LONG"},
    {426, "UPGRADE_REQUIRED"},    {429, "RATE_LIMITED"},
    {431, "HEADERS_TOO_LARGE"},   {501, "NOT_IMPLEMENTED"},
    {503, "SERVICE_UNAVAILABLE"}, {505, "HTTP_VERSION_NOT_SUPPORTED"}};

std::string_view refusalName(int status) {
  for (const auto& [known, name] : kRefusals) {
    if (known == status) return name;
  }
  return "BAD_REQUEST";
}

edge::Response render(int status, json::object body) {
  edge::Response response;
  response.status = status;
  if (status == 503 || status == 507 || status == 429) {
    auto& seconds = body["retry_after"];
    if (seconds.is_null()) seconds = status == 507 ? 10 : 1;
    response.headers.emplace_back("Retry-After", toJson(seconds));
  }
  response.body = toJson(body);
  return response;
}

json::object bodyOf(const std::string& text, std::string_view code, const std::string& request_id) {
  return {{"error", text}, {"code", code}, {"message", text}, {"request_id", request_id}, {"trace_id", request_id}};
}

// Clients never see internals: hosts, paths and SQL stay in the log.
std::string textForCaller(const Error& error, int status) {
  if (status < 500 || error.code() == Code::NotOffered) return error.what();
  if (error.code() == Code::Overloaded) return "the server is busy";
  if (error.code() == Code::StorageFull) return "the database has no space left: nothing can be written at the moment";
  return status == 503 ? "a service this server needs is not available" : "internal server error";
}

// Routes are written as they are in our sources: "POST /api/auth/login". What has its base already is left alone.
std::string belowBase(const std::string& hint, std::string_view base_path) {
  return base_path.empty() ? hint : replaceAll(" " + hint, " /api/", fmt::format(" {}/api/", base_path)).substr(1);
}
}  // namespace

edge::Response errorResponse(const Error& error, const std::string& request_id, std::string_view base_path) {
  const auto& entry = info(error.code());
  const bool internal = entry.http_status >= 500 && error.code() != Code::NotOffered;
  const bool said = error.code() == Code::StorageFull;  // by the prober, once
  if (internal)
    log::write(said ? log::Level::Debug : log::Level::Warning, fmt::format("request {}: {}", request_id, error.what()));
  auto body = bodyOf(textForCaller(error, entry.http_status), entry.name, request_id);
  if (!internal && !error.details().is_null()) {
    body["details"] = error.details();
    if (entry.http_status == 400) body["errors"] = error.details();
  }
  if (const auto* more = error.details().if_object(); !internal && more != nullptr && more->contains("retry_after"))
    body["retry_after"] = more->at("retry_after");
  if (!internal && !error.hint().empty()) {
    body["hint"] = body["suggestion"] = belowBase(error.hint(), base_path);
  }
  return render(entry.http_status, std::move(body));
}

edge::Response currentErrorResponse(const std::string& request_id, std::string_view what, std::string_view base_path) {
  try {
    throw;
  } catch (const database::Failure& failure) {
    if (info(failure.code()).http_status >= 500) return errorResponse(failure, request_id, base_path);
    log::error("request {} {}: {}", request_id, what, failure.what());
    return errorResponse(Error(Code::Internal, "the database refused"), request_id);
  } catch (const Error& error) {
    return errorResponse(error, request_id, base_path);
  } catch (const std::exception& error) {
    log::error("request {} {}: {}", request_id, what, error.what());
    return errorResponse(Error(Code::Internal, error.what()), request_id);
  }
}

edge::Response refusalResponse(const edge::Refusal& refusal, const std::string& request_id) {
  auto response = render(refusal.status, bodyOf(refusal.reason, refusalName(refusal.status), request_id));
  if (refusal.status == 405) response.headers.emplace_back("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  return response;
}

edge::Response rateLimited(const Standings& standings, const std::string& what, const std::string& request_id) {
  Rate rate;
  for (const auto& one : standings) {
    if (!one.verdict.allowed) rate = one.limit.rate;
  }
  const auto* const window = rate.window > std::chrono::minutes(1) ? "an hour" : "a minute";
  auto body =
      bodyOf(fmt::format("more than {} {} {}", rate.limit, what, window), info(Code::RateLimited).name, request_id);
  body["hint"] = body["suggestion"] = "slow down";
  body["retry_after"] = retryAfter(standings);
  auto response = render(429, std::move(body));
  addHeaders(standings, response);
  return response;
}

void reshapeForOpenAi(edge::Response& response) {
  const auto value = tryParseJson(response.content());
  if (!value || !value->is_object() || jsonText(value->get_object(), "error") == std::nullopt) return;
  const auto& own = value->get_object();
  const auto status = response.status;
  auto message = jsonTextOr(own, "error", "");
  if (const auto hint = jsonTextOr(own, "hint", ""); !hint.empty()) message += " (" + hint + ")";
  json::object error{{"message", message},
                     {"type", status == 401   ? "authentication_error"
                              : status == 403 ? "permission_error"
                              : status == 429 ? "rate_limit_error"
                              : status >= 500 ? "server_error"
                                              : "invalid_request_error"},
                     {"param", nullptr},
                     {"code", lower(jsonTextOr(own, "code", ""))},
                     {"request_id", jsonTextOr(own, "request_id", "")}};
  if (const auto* details = jsonArray(own, "details");
      details != nullptr && !details->empty() && details->front().is_object())
    if (const auto field = jsonText(details->front().get_object(), "field")) error["param"] = *field;
  response.shared_body.reset();
  response.body = toJson(json::object{{"error", std::move(error)}});
}

}  // namespace aragora::web
