#include "cli/output/output.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "common/base/interrupt.h"
#include "common/base/log.h"
#include "common/base/redact.h"
#include "common/base/terminal_line.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
constexpr int kSchemaVersion = 1;

// Of the first write to standard output that failed: what came after it is not written either.
int out_failure = 0;

void put(std::FILE* stream, std::string_view text) {
  const bool to_out = stream == stdout;
  if (to_out && out_failure != 0) return;
  const terminal_line::Aside aside;
  const bool written = std::fwrite(text.data(), 1, text.size(), stream) == text.size() && std::fflush(stream) == 0;
  if (to_out && !written) out_failure = errno != 0 ? errno : EIO;
}

// Whether what is a terminal knows escape sequences.
bool terminalIsCapable() {
  const char* term = std::getenv("TERM");
  return term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

bool colourWanted(bool no_color) {
  const char* no = std::getenv("NO_COLOR");
  return !no_color && (no == nullptr || *no == '\0') && terminalIsCapable();
}
}  // namespace

Output::Output(OutputOptions options) : options_(options) {
  out_terminal_ = ::isatty(STDOUT_FILENO) == 1;
  err_terminal_ = ::isatty(STDERR_FILENO) == 1;
  options_.no_color = !colourWanted(options_.no_color);
}

std::string Output::coloured(std::string_view text, const char* code, bool on_terminal) const {
  if (options_.no_color || !on_terminal) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

void Output::line(std::string_view text) const {
  if (!options_.json && !options_.quiet) put(stdout, fmt::format("{}\n", text));
}

void Output::marked(Mark mark, std::string_view text) const {
  constexpr std::size_t kRemembered = 20;
  if (mark == Mark::Failure && failures_.size() < kRemembered) failures_.emplace_back(text);
  if (options_.json) return;
  const bool bad = mark == Mark::Failure || mark == Mark::Warning;
  if (options_.quiet && !bad) return;
  const bool to_error = options_.quiet;
  const bool terminal = to_error ? err_terminal_ : out_terminal_;
  std::string sign;
  switch (mark) {
    case Mark::Ok:
      sign = coloured("✓", "32", terminal);
      break;
    case Mark::Failure:
      sign = coloured("✗", "31;1", terminal);
      break;
    case Mark::Warning:
      sign = coloured("!", "33;1", terminal);
      break;
    case Mark::Info:
      sign = coloured("-", "2", terminal);
      break;
  }
  put(to_error ? stderr : stdout, fmt::format("{} {}\n", sign, redact(text)));
}

void Output::raw(std::string_view text) const { put(stdout, text); }

void Output::text(const char* member, std::string_view text) const {
  if (options_.json) return document({{member, text}});
  put(stdout, text);
  if (!endsWith(text, "\n")) put(stdout, "\n");
}

void Output::note(std::string_view text) const {
  if (!options_.quiet) put(stderr, fmt::format("{}\n", text));
}

void Output::document(json::object object) const {
  if (!options_.json) return;
  for (auto& member : object) document_[member.key()] = std::move(member.value());
}

void Output::finish() const {
  if (!options_.json || finished_) return;
  finished_ = true;
  json::object whole{{"schema_version", kSchemaVersion}};
  for (auto& member : document_) whole[member.key()] = std::move(member.value());
  put(stdout, toPrettyJson(whole) + "\n");
}

json::value redacted(const json::value& value) {
  if (const auto* text = value.if_string()) return json::value(redact(*text));
  if (const auto* array = value.if_array()) {
    json::array result;
    for (const auto& item : *array) result.push_back(redacted(item));
    return result;
  }
  if (const auto* object = value.if_object()) {
    json::object result;
    for (const auto& member : *object) result[member.key()] = redacted(member.value());
    return result;
  }
  return value;
}

void Output::error(const Error& error) const {
  const auto message = redact(error.what());
  const auto hint = redact(error.hint());
  if (options_.json) {
    json::object body{
        {"code", info(error.code()).name}, {"message", message}, {"exit_status", info(error.code()).exit_status}};
    if (!hint.empty()) body["hint"] = hint;
    if (!error.details().is_null()) body["details"] = redacted(error.details());
    document({{"error", body}});
    finish();
  }
  put(stderr, fmt::format("{} {}\n", coloured("aragora:", "31;1", err_terminal_), message));
  if (!hint.empty()) put(stderr, fmt::format("  → {}\n", hint));
}

bool Output::redraws() const { return err_terminal_ && terminalIsCapable(); }

std::string Output::dim(std::string_view text) const { return coloured(text, "2", out_terminal_); }

void printOut(std::string_view text) { put(stdout, text); }

int closeOut() {
  put(stdout, "");
  // A network file system says only now that there was no room.
  if (::close(STDOUT_FILENO) != 0 && out_failure == 0 && errno != EBADF && errno != EINTR) out_failure = errno;
  return out_failure;
}

bool canAsk() { return ::isatty(STDIN_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1; }

bool ask(const std::string& question) {
  put(stderr, question + "\nType yes to go on: ");
  interrupt::waitFor(STDIN_FILENO, POLLIN, Deadline::max());
  std::string answer;
  std::getline(std::cin, answer);
  return trim(answer) == "yes";
}

}  // namespace aragora::cli
