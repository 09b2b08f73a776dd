#include "common/notify/event.h"

#include "common/base/ids.h"
#include "common/base/names.h"
#include "common/base/redact.h"
#include "common/base/text.h"

namespace aragora::notify {

namespace {
constexpr std::size_t kMostDetails = 40;
constexpr std::size_t kLongestLine = 1000;

struct KindInfo {
  Kind kind;
  std::string_view name;
  std::string_view title;
};
constexpr KindInfo kKinds[] = {
    {Kind::Test, "test", "Test"},
    {Kind::Unit, "unit", "Unit"},
    {Kind::Backup, "backup", "Backup"},
    {Kind::Proof, "backup_proof", "Proof of a backup"},
    {Kind::Drill, "drill", "Recovery drill"},
    {Kind::Recovery, "recovery", "Recovery"},
    {Kind::Repository, "repository", "Place of the backups"},
    {Kind::Certificate, "certificate", "Certificate"},
    {Kind::Audit, "audit", "Audit log"},
    {Kind::Provider, "provider", "Provider of models"},
    {Kind::Budget, "budget", "Budget"},
};
constexpr Names<State, 4> kStates{{{State::Test, "test"},
                                   {State::Problem, "problem"},
                                   {State::Reminder, "reminder"},
                                   {State::Recovered, "recovered"}}};

const KindInfo& infoOf(Kind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

std::string line(const std::string& text) { return printable(redact(text), kLongestLine); }
}  // namespace

std::string_view name(Kind kind) { return infoOf(kind).name; }
std::string_view title(Kind kind) { return infoOf(kind).title; }
std::optional<Kind> parseKind(std::string_view name) {
  for (const auto& one : kKinds) {
    if (one.name == name) return one.kind;
  }
  return std::nullopt;
}
std::string_view name(State state) { return nameIn(kStates, state); }

Event makeEvent(State state, Problem what, Micros since) {
  what.summary = line(what.summary);
  if (what.details.size() > kMostDetails) what.details.resize(kMostDetails);
  for (auto& one : what.details) one = line(one);
  const auto now = nowMicros();
  return {newUlid(), state, std::move(what), now, since > 0 ? since : now};
}

json::object toDocument(const Event& event, const Sender& sender) {
  json::array details;
  for (const auto& one : event.what.details) details.push_back(json::string(one));
  return {{"schema_version", 1},
          {"id", event.id},
          {"at", toIso(event.at)},
          {"kind", name(event.what.kind)},
          {"state", name(event.state)},
          {"key", event.what.key},
          {"summary", event.what.summary},
          {"details", std::move(details)},
          {"since", toIso(event.since)},
          {"host", sender.host},
          {"environment", sender.environment},
          {"url", sender.url.empty() ? json::value(nullptr) : json::value(sender.url)},
          {"text", subject(event, sender)}};  // what chat services show
}

std::optional<Event> fromDocument(const json::object& document) {
  Event event;
  event.id = jsonTextOr(document, "id", "");
  event.what.key = jsonTextOr(document, "key", "");
  event.what.summary = jsonTextOr(document, "summary", "");
  const auto state = parseIn(kStates, jsonTextOr(document, "state", ""));
  const auto kind = parseKind(jsonTextOr(document, "kind", ""));
  const auto at = fromIso(jsonTextOr(document, "at", ""));
  if (!ulidTime(event.id) || !state || !kind || !at) return std::nullopt;
  event.state = *state;
  event.what.kind = *kind;
  event.at = *at;
  event.since = fromIso(jsonTextOr(document, "since", "")).value_or(*at);
  if (const auto* details = jsonArray(document, "details")) {
    for (const auto& one : *details) {
      if (const auto* text = one.if_string()) event.what.details.emplace_back(*text);
    }
  }
  return event;
}

std::string subject(const Event& event, const Sender& sender) {
  constexpr std::size_t kLongest = 150;
  const auto word = event.state == State::Test        ? "TEST"
                    : event.state == State::Problem   ? "PROBLEM"
                    : event.state == State::Recovered ? "RECOVERED"
                                                      : "STILL";
  return fmt::format("[aragora {}] {} {}: {}", sender.host, word, title(event.what.kind),
                     printable(event.what.summary, kLongest));
}

std::string body(const Event& event, const Sender& sender) {
  auto text = event.what.summary + "\n\n";
  for (const auto& one : event.what.details) text += "  " + one + "\n";
  if (!event.what.details.empty()) text += "\n";
  text += fmt::format("Host:        {}\nEnvironment: {}\n", sender.host, sender.environment);
  if (!sender.url.empty()) text += fmt::format("Deployment:  {}\n", sender.url);
  text += fmt::format("At:          {}\n", toIso(event.at));
  if (event.since != event.at) text += fmt::format("Since:       {}\n", toIso(event.since));
  return text + fmt::format("Event:       {}\n", event.id);
}

}  // namespace aragora::notify
