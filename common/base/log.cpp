#include "common/base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "common/base/log_line.h"
#include "common/base/log_queue.h"
#include "common/base/redact.h"
#include "common/base/terminal_line.h"
#include "common/base/text.h"

namespace aragora::log {

namespace {
constexpr std::size_t kLongestMessage = 16384;  // whoever sends us more would fill the log with it

// systemd.exec(5): JOURNAL_STREAM is "device:inode" of the stream that is connected to the journal.
bool stderrIsJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (stream == nullptr || ::fstat(STDERR_FILENO, &status) != 0) return false;
  return fmt::format("{}:{}", status.st_dev, status.st_ino) == stream;
}

struct Sink {
  Sink() : logger(std::make_shared<spdlog::logger>("aragora", std::make_shared<spdlog::sinks::stderr_sink_mt>())) {
    logger->set_level(spdlog::level::info);
    logger->set_formatter(std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::local, ""));
    logger->flush_on(spdlog::level::trace);
  }
  std::shared_ptr<spdlog::logger> logger;  // shared with spdlog's own registry-free internals only
  std::atomic<bool> as_json{false};
  const bool journal = stderrIsJournal();
};

// Of the Service that lives; whoever writes holds it.
std::shared_ptr<Queue> queue;  // shared with those who write at the moment
std::atomic<bool> to_journal{false};
std::atomic<std::uint64_t> lost{0};
thread_local Scope* innermost = nullptr;

Sink& sink() {
  static Sink instance;
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

}  // namespace

void configure(Level level, bool as_json) {
  sink().logger->set_level(native(level));
  sink().as_json = as_json;
}

bool enabled(Level level) { return sink().logger->should_log(native(level)); }

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

std::optional<Level> parseLevel(std::string_view text) {
  for (const auto level : {Level::Debug, Level::Info, Level::Warning, Level::Error}) {
    if (name(level) == text) return level;
  }
  return std::nullopt;
}

Scope::Scope(About about) : about_(std::move(about)), outer_(std::exchange(innermost, this)) {}
Scope::~Scope() { innermost = outer_; }

About about() { return innermost != nullptr ? innermost->about_ : About{}; }

void setRequest(const std::string& request_id) {
  if (innermost != nullptr) innermost->about_.request_id = request_id;
}

namespace {
void put(const Line& line, bool may_be_left_out) {
  auto& target = sink();
  const auto waiting = std::atomic_load(&queue);
  const bool fields = waiting && to_journal && !target.as_json;
  auto text = target.as_json   ? asJson(line)
              : fields         ? forJournal(line)
              : target.journal ? withPriority(line)
                               : asText(line);
  if (waiting) {
    if (!waiting->put(std::move(text), fields ? Way::Journal : Way::Stderr, may_be_left_out)) ++lost;
    return;
  }
  const terminal_line::Aside aside;
  target.logger->log(native(line.level), text);
}
}  // namespace

void write(Level level, std::string_view message, Event event) {
  const auto left_out = message.size() - std::min(message.size(), kLongestMessage);
  auto text = printable(redact(message.substr(0, kLongestMessage)));
  if (left_out > 0) text += fmt::format(" … ({} bytes more)", left_out);
  put({level, event, text, {}, about()}, false);
}

void writePlain(Level level, std::string_view message, Event event, std::initializer_list<Field> fields) {
  put({level, event, message, fields, about()}, true);
}

std::uint64_t dropped() { return lost; }

Service::Service() {
  to_journal = sink().journal;
  std::atomic_store(&queue, std::make_shared<Queue>());
}

// Whoever writes just now ends the queue, when that is not us.
Service::~Service() { std::atomic_store(&queue, std::shared_ptr<Queue>()); }

void Service::leaveJournal() { to_journal = false; }

}  // namespace aragora::log
