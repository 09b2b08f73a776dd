#include "common/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "common/base/clock.h"
#include "common/base/redact.h"
#include "common/base/terminal_line.h"
#include "common/base/text.h"

namespace aragora::log {

namespace {
constexpr std::size_t kLongestMessage = 16384;  // whoever sends us more would fill the log with it

struct Sink {
  std::shared_ptr<spdlog::logger> logger;  // shared with spdlog's own registry-free internals only
  bool as_json = false;
  bool journal = false;
};

// systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream that is connected to the journal.
bool stderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &status) != 0) return false;
  return fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

Sink& sink() {
  static Sink instance = [] {
    Sink result;
    result.logger = std::make_shared<spdlog::logger>("aragora", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    result.logger->set_level(spdlog::level::info);
    result.logger->set_pattern("%v");
    result.logger->flush_on(spdlog::level::trace);
    result.journal = stderrIsJournal();
    return result;
  }();
  return instance;
}

spdlog::level::level_enum native(Level level) {
  switch (level) {
    case Level::Debug:
      return spdlog::level::debug;
    case Level::Info:
      return spdlog::level::info;
    case Level::Warning:
      return spdlog::level::warn;
    case Level::Error:
      return spdlog::level::err;
    case Level::Off:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

std::string_view name(Level level) {
  switch (level) {
    case Level::Debug:
      return "debug";
    case Level::Info:
      return "info";
    case Level::Warning:
      return "warning";
    default:
      return "error";
  }
}

int journalPriority(Level level) {  // sd-daemon(3)
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
}  // namespace

void configure(Level level, bool as_json) {
  sink().logger->set_level(native(level));
  sink().as_json = as_json;
}

bool enabled(Level level) { return sink().logger->should_log(native(level)); }

std::optional<Level> parseLevel(std::string_view text) {
  for (const auto level : {Level::Debug, Level::Info, Level::Warning, Level::Error}) {
    if (name(level) == text) return level;
  }
  return std::nullopt;
}

void write(Level level, std::string_view message) {
  auto& target = sink();
  const auto left_out = message.size() - std::min(message.size(), kLongestMessage);
  auto text = printable(redact(message.substr(0, kLongestMessage)));
  if (left_out > 0) text += fmt::format(" … ({} bytes more)", left_out);
  std::string line;
  if (target.as_json) {
    line = toJson(json::object{{"time", toIso(nowMicros())}, {"level", name(level)}, {"message", text}});
  } else if (target.journal) {
    line = fmt::format("<{}>{}", journalPriority(level), text);
  } else {
    line = fmt::format("{} {:<7} {}", toIso(nowMicros()), name(level), text);
  }
  const terminal_line::Aside aside;
  target.logger->log(native(level), line);
}

}  // namespace aragora::log
