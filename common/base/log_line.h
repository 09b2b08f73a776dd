// Private to the log: one line as text, as JSON or as a datagram for the journal.
#pragma once

#include <span>

#include "common/base/log.h"

namespace aragora::log {

struct Line {
  Level level = Level::Info;
  Event event = Event::None;
  std::string_view message;
  std::span<const Field> fields{};
  const About& about;  // outlives it
};

// Each with its line feed.
std::string asJson(const Line& line);
std::string asText(const Line& line);
std::string withPriority(const Line& line);
// systemd's native protocol (JOURNAL_NATIVE_PROTOCOL.md): NAME=value lines. No value has a line feed.
std::string forJournal(const Line& line);

}  // namespace aragora::log
