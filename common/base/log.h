// The log: one line an event, to stderr. Under systemd (JOURNAL_STREAM matches stderr) lines carry a `<N>` priority
// and no time stamp. Every line passes the redaction of `redact()` and has its control characters escaped. Thread-safe.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>

namespace aragora::log {

enum class Level { Debug, Info, Warning, Error, Off };

void configure(Level level, bool as_json);
bool enabled(Level level);
void write(Level level, std::string_view message);
std::optional<Level> parseLevel(std::string_view name);

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

}  // namespace aragora::log
