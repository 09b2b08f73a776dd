#include "common/base/log_line.h"

#include <algorithm>
#include <cctype>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/text.h"

namespace aragora::log {

namespace {
int priorityOf(Level level) {  // sd-daemon(3)
  switch (level) {
    case Level::Debug:
      return 7;
    case Level::Info:
      return 6;
    case Level::Warning:
      return 4;
    default:
      return 3;
  }
}

// As toIso(nowMicros()); the calendar is asked once a second and thread.
std::string now() {
  thread_local Micros second = -1;
  thread_local std::string text;
  const auto at = nowMicros();
  if (at / 1'000'000 != second) {
    second = at / 1'000'000;
    text = toIso(at);
  }
  const auto milliseconds = at / 1000 % 1000;  // "2026-01-13T10:00:00.000Z"
  auto* const digits = text.data() + text.size() - 4;
  digits[0] = static_cast<char>('0' + milliseconds / 100);
  digits[1] = static_cast<char>('0' + milliseconds / 10 % 10);
  digits[2] = static_cast<char>('0' + milliseconds % 10);
  return text;
}

// Where the text does not say it by itself.
void appendAbout(std::string& text, const Line& line) {
  const auto append = [&](std::string_view what, const std::string& id) {
    if (!id.empty() && line.message.find(id) == std::string_view::npos)
      text.append(" ").append(what).append("=").append(id);
  };
  append("debate", line.about.debate_id);
  append("request", line.about.request_id);
}

std::string fieldName(std::string_view name) {
  std::string result = "ARAGORA_";
  std::transform(name.begin(), name.end(), std::back_inserter(result),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return result;
}
}  // namespace

std::string asJson(const Line& line) {
  json::object object{{"time", now()}, {"level", name(line.level)}, {"message", line.message}};
  if (line.event != Event::None) object["event"] = name(line.event);
  if (!line.about.request_id.empty()) object["request_id"] = line.about.request_id;
  if (!line.about.debate_id.empty()) object["debate_id"] = line.about.debate_id;
  for (const auto& field : line.fields) std::visit([&](const auto& value) { object[field.name] = value; }, field.value);
  return toJson(object) + "\n";
}

std::string asText(const Line& line) {
  auto text = fmt::format("{} {:<7} {}", now(), name(line.level), line.message);
  appendAbout(text, line);
  return text + "\n";
}

std::string withPriority(const Line& line) {
  auto text = fmt::format("<{}>{}", priorityOf(line.level), line.message);
  appendAbout(text, line);
  return text + "\n";
}

std::string forJournal(const Line& line) {
  auto text = fmt::format("MESSAGE={}\nPRIORITY={}\nSYSLOG_IDENTIFIER=aragora\n", line.message, priorityOf(line.level));
  const auto append = [&text](std::string_view name, std::string_view value) {
    if (!value.empty()) text.append(name).append("=").append(value).append("\n");
  };
  append("MESSAGE_ID", messageId(line.event));
  append("ARAGORA_EVENT", name(line.event));
  append("ARAGORA_REQUEST_ID", line.about.request_id);
  append("ARAGORA_DEBATE_ID", line.about.debate_id);
  for (const auto& field : line.fields)
    std::visit([&](const auto& value) { append(fieldName(field.name), fmt::format("{}", value)); }, field.value);
  return text;
}

}  // namespace aragora::log
