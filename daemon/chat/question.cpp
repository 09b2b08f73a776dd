#include "daemon/chat/question.h"

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::chat {

namespace {
constexpr std::size_t kMostMessages = 1000;

[[noreturn]] void refuse(std::string_view parameter, const std::string& what, const std::string& hint = {}) {
  throw Error(Code::Validation, fmt::format("{} {}", parameter, what), hint)
      .with(json::array{json::object{{"field", parameter}, {"message", what}}});
}

bool asksFor(const json::object& body, const char* name) {
  const auto* value = body.if_contains(name);
  if (value == nullptr || value->is_null()) return false;
  if (value->is_bool()) return value->get_bool();
  return !value->is_array() || !value->get_array().empty();
}

void refuseWhatIsNoOption(const json::object& body) {
  const auto* stream = body.if_contains("stream");
  if (stream != nullptr && !stream->is_bool() && !stream->is_null()) refuse("stream", "must be true or false");
  for (const auto* name : {"stream_options", "aragora"}) {
    const auto* value = body.if_contains(name);
    if (value != nullptr && !value->is_object() && !value->is_null()) refuse(name, "must be an object");
  }
}

void refuseWhatCannotBeDone(const json::object& body) {
  for (const auto* name : {"tools", "functions", "logprobs", "audio", "web_search_options"})
    if (asksFor(body, name)) refuse(name, "is not offered: a debate has no tools and gives text");
  if (asksFor(body, "stop")) refuse("stop", "is not offered: the answer of a debate is given whole");
  if (jsonIntegerOr(body, "n", 1) != 1) refuse("n", "must be 1: a debate has one answer");
  if (const auto* format = jsonObject(body, "response_format");
      format != nullptr && jsonTextOr(*format, "type", "text") != "text")
    refuse("response_format", "must be text: the answer of a debate is prose");
  if (const auto* kinds = jsonArray(body, "modalities"); kinds != nullptr && *kinds != json::array{"text"})
    refuse("modalities", "must be text alone");
}

std::string textOf(const json::value& content, const std::string& where) {
  if (content.is_null()) return {};
  if (content.is_string()) return std::string(content.get_string());
  if (!content.is_array()) refuse(where, "must be a text or a list of parts");
  std::string text;
  for (const auto& part : content.get_array()) {
    if (!part.is_object() || jsonTextOr(part.get_object(), "type", "") != "text")
      refuse(where, "has a part that is no text: images, audio and files are not read");
    if (!text.empty()) text += '\n';
    text += jsonTextOr(part.get_object(), "text", "");
  }
  return text;
}

void readMessages(const json::object& body, json::object& request) {
  const auto* messages = jsonArray(body, "messages");
  if (messages == nullptr || messages->empty()) refuse("messages", "must be a list with one message or more");
  if (messages->size() > kMostMessages) refuse("messages", fmt::format("has more than {}", kMostMessages));
  std::string context;
  std::string task;
  for (std::size_t i = 0; i < messages->size(); ++i) {
    const auto where = fmt::format("messages[{}]", i);
    if (!(*messages)[i].is_object()) refuse(where, "must be an object");
    const auto& message = (*messages)[i].get_object();
    const auto role = jsonTextOr(message, "role", "");
    static const std::vector<std::string> kRoles{"system", "developer", "user", "assistant"};
    if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end())
      refuse(where + ".role", "must be one of system, developer, user, assistant");
    const auto* content = message.if_contains("content");
    auto text = textOf(content != nullptr ? *content : json::value(), where + ".content");
    if (i + 1 == messages->size() && role == "user") {
      task = std::move(text);
    } else if (!text.empty()) {
      context += fmt::format("{}{}: {}", context.empty() ? "" : "\n\n", role, text);
    }
  }
  if (trim(task).empty()) refuse("messages", "must end with a message of the user, which is what is debated");
  request["task"] = task;
  if (!context.empty()) request["context"] = context;
}
}  // namespace

Question readQuestion(const json::object& body, const Profiles& profiles) {
  Question question;
  const auto model = jsonText(body, "model");
  if (!model) refuse("model", "is required", "GET /v1/models has them");
  const auto* profile = findProfile(profiles, *model);
  if (profile == nullptr)
    throw Error(Code::NotFound, fmt::format("there is no model '{}'", printable(*model, 60)), "GET /v1/models has them")
        .with(json::array{json::object{{"field", "model"}, {"message", "is unknown"}}});
  refuseWhatIsNoOption(body);
  refuseWhatCannotBeDone(body);
  question.model = std::string(kModelPrefix) + profile->name;
  question.request = profile->request();
  // Whoever knows more of debates says so here; it goes before the profile.
  if (const auto* own = jsonObject(body, "aragora")) {
    for (const auto& entry : *own) question.request[entry.key()] = entry.value();
  }
  readMessages(body, question.request);
  question.stream = jsonFlagOr(body, "stream", false);
  if (const auto* options = jsonObject(body, "stream_options"))
    question.include_usage = jsonFlagOr(*options, "include_usage", false);
  return question;
}

}  // namespace aragora::chat
