// What somebody is told: which part of the deployment, what of it, whether that is new. Texts have passed redact().
// Values, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/base/json.h"

namespace aragora::notify {

// A kind more is a value here and a line in the table of event.cpp.
enum class Kind { Test, Unit, Backup, Proof, Drill, Recovery, Repository, Certificate, Audit, Provider, Budget };
std::string_view name(Kind kind);
std::optional<Kind> parseKind(std::string_view name);
std::string_view title(Kind kind);  // as a mail begins: "Backup"

enum class State { Test, Problem, Reminder, Recovered };
std::string_view name(State state);

// What is wrong now. The key says which it is, the same as long as it lasts: "backup", "recovery:loss".
struct Problem {
  std::string key;
  Kind kind = Kind::Test;
  std::string summary;
  std::vector<std::string> details{};
  std::size_t weight = 1;  // of a problem that has become worse it is more
};

struct Event {
  std::string id;  // a ULID; the same for every try to tell it
  State state = State::Problem;
  Problem what;
  Micros at = 0;
  Micros since = 0;  // when it was first told
};

// Who tells it.
struct Sender {
  std::string host;
  std::string environment;
  std::string url;  // under which clients reach it; may be empty
};

Event makeEvent(State state, Problem what, Micros since = 0);
// Of the webhook; documented in aragora-notify(8).
json::object toDocument(const Event& event, const Sender& sender);
// Of what was kept; nullopt for what is no event.
std::optional<Event> fromDocument(const json::object& document);

std::string subject(const Event& event, const Sender& sender);
std::string body(const Event& event, const Sender& sender);

}  // namespace aragora::notify
