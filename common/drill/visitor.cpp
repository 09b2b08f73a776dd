#include "common/drill/visitor.h"

#include <thread>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/net/failure.h"
#include "common/net/url.h"
#include "common/store/states.h"

namespace aragora::drill {

namespace {
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr auto kPatience = std::chrono::seconds(10);
}  // namespace

Visitor::Answer Visitor::request(const std::string& method, const std::string& path, const std::string& body,
                                 const std::string& access_token) const {
  const auto url = net::Url::parse(url_ + path);  // parts of it may be what the daemon said
  if (!url) throw Error(Code::CheckFailed, fmt::format("'{}' is no address to ask", printable(path, 200)));
  net::Request request{.method = method, .url = *url, .limits = {deadlineIn(kPatience), kPatience, {}}};
  if (!body.empty()) {
    request.headers.emplace_back("Content-Type", "application/json");
    request.content = net::Content::of(body);
  }
  if (!access_token.empty()) request.headers.emplace_back("Authorization", "Bearer " + access_token);
  Answer answer;
  answer.status = client_.exchange(request, {.body = [&](std::string_view bytes) { answer.body += bytes; }}).status;
  return answer;
}

json::object Visitor::requireObject(const std::string& method, const std::string& path, const std::string& body,
                                    const std::string& access_token) const {
  try {
    const auto answer = request(method, path, body, access_token);
    const auto value = tryParseJson(answer.body);
    if (answer.status == 200 && value && value->is_object()) return value->get_object();
    throw Error(Code::CheckFailed,
                fmt::format("{} {} answered {}: {}", method, path, answer.status, printable(answer.body, 200)));
  } catch (const net::Failure& failure) {
    throw Error(Code::CheckFailed, fmt::format("{} {} failed: {}", method, path, failure.what()));
  }
}

std::string Visitor::smokeTest(std::int64_t expected_debates, Deadline deadline) const {
  const auto health = requireObject("GET", "/api/health");
  if (jsonTextOr(health, "status", "") != "healthy")
    throw Error(Code::CheckFailed, "the daemon does not call itself healthy");
  const auto list = requireObject("GET", "/api/debates?limit=100");
  if (jsonIntegerOr(list, "total", -1) != expected_debates)
    throw Error(Code::CheckFailed, fmt::format("it lists {}, {} were restored",
                                               counted(jsonIntegerOr(list, "total", -1), "debate"), expected_debates));
  std::int64_t read = 0;
  if (const auto* items = jsonArray(list, "items"); items != nullptr) {
    for (const auto& item : *items) {
      const auto id = item.is_object() ? jsonTextOr(item.get_object(), "id", "") : "";
      requireObject("GET", "/api/debates/" + id + "/events?limit=1");
      ++read;
    }
  }
  const auto created =
      requireObject("POST", "/api/debates", R"({"task":"Does this restored instance work?","rounds":1})");
  const auto id = jsonTextOr(created, "debate_id", "");
  while (true) {
    const auto debate = requireObject("GET", "/api/debates/" + id);
    const auto status = jsonTextOr(debate, "status", "");
    if (status == store::name(store::DebateStatus::Completed)) break;
    const auto known = store::parseDebateStatus(status);
    if (!known || store::isFinal(*known) || remaining(deadline).count() == 0)
      throw Error(Code::CheckFailed, fmt::format("a new debate is {} instead of completed", printable(status, 40)));
    std::this_thread::sleep_for(kPoll);
  }
  return fmt::format("healthy; {} listed, {} read; a new debate was held and read back",
                     counted(expected_debates, "debate"), read);
}

std::string Visitor::sessionTest(const std::string& email, const Secret& password) const {
  const auto login =
      requireObject("POST", "/api/auth/login", toJson(json::object{{"email", email}, {"password", password.reveal()}}));
  const auto whoIs = [&](const json::object& tokens) {
    const auto me = requireObject("GET", "/api/auth/me", {}, jsonTextOr(tokens, "access_token", ""));
    if (jsonTextOr(me, "email", "") != email)
      throw Error(Code::CheckFailed, "GET /api/auth/me names somebody else than who logged in");
  };
  whoIs(login);
  const auto renewed = requireObject("POST", "/api/auth/refresh",
                                     toJson(json::object{{"refresh_token", jsonTextOr(login, "refresh_token", "")}}));
  whoIs(renewed);
  const auto token = jsonTextOr(renewed, "access_token", "");
  requireObject("POST", "/api/auth/logout", {}, token);
  try {
    const auto status = request("GET", "/api/auth/me", {}, token).status;
    if (status != 401) throw Error(Code::CheckFailed, fmt::format("a session that was ended still answers {}", status));
  } catch (const net::Failure& failure) {
    throw Error(Code::CheckFailed, fmt::format("GET /api/auth/me failed: {}", failure.what()));
  }
  return "logged in, renewed, ended, refused afterwards";
}

}  // namespace aragora::drill
