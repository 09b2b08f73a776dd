// The log: one line an event, to stderr; as text or as JSON. Under systemd (JOURNAL_STREAM matches stderr) text has a
// `<N>` priority and no time stamp, and what a Service writes goes to the journal with fields. Every message passes the
// redaction of `redact()` and has its control characters escaped; lines say of which request and debate they are.
// Thread-safe.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/base/log_events.h"

namespace aragora::log {

enum class Level { Debug, Info, Warning, Error, Off };

void configure(Level level, bool as_json);
bool enabled(Level level);
std::string_view name(Level level);
std::optional<Level> parseLevel(std::string_view name);

// What the lines of a thread are about.
struct About {
  std::string request_id{};
  std::string debate_id{};
};
// As long as it lives, in this thread; the innermost counts.
class Scope {
 public:
  explicit Scope(About about);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  friend About about();
  friend void setRequest(const std::string& request_id);
  About about_;
  Scope* outer_;
};
// For another thread that goes on with it.
About about();
// Of the innermost scope, when it is known later than the rest.
void setRequest(const std::string& request_id);

// What a line says besides its text; names in lower_case.
struct Field {
  std::string_view name;
  std::variant<std::string_view, std::int64_t, double> value;
};

void write(Level level, std::string_view message, Event event = Event::None);
// Nothing in it is anybody's secret or has control characters: neither is looked for. The first to be left out where
// lines come faster than they are written.
void writePlain(Level level, std::string_view message, Event event, std::initializer_list<Field> fields);

// A daemon's: while it lives lines are written by a thread of its own, in their order, so that nobody waits for whoever
// reads them. What finds no room is counted. The last milliseconds before a crash may be missing. One a process; made
// when signals are blocked.
class Service {
 public:
  Service();
  ~Service();  // writes what is there, for at most a quarter of a second
  // The journal does not know any more of which unit it was when the process has ended: the last lines go to stderr.
  void leaveJournal();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
};
// Lines that found no room.
std::uint64_t dropped();

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Debug)) write(Level::Debug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Info)) write(Level::Info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Warning)) write(Level::Warning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::Error)) write(Level::Error, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void tell(Event event, Level level, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(level)) write(level, fmt::format(format, std::forward<Args>(args)...), event);
}

}  // namespace aragora::log
