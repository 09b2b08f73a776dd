#include "common/config/environment.h"

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/interrupt.h"
#include "common/config/env_file.h"

extern char** environ;

namespace aragora::config {

namespace {
constexpr std::size_t kFileLimit = 1 << 20;
}

Environment processEnvironment() {
  Environment result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    const auto name = std::string(text.substr(0, equals));
    result[name] = {std::string(text.substr(equals + 1)), "env " + name};
  }
  return result;
}

void addEnvironmentFile(Environment& environment, const std::string& file, std::vector<Problem>& problems,
                        const std::string& hint) {
  try {
    const auto parsed = parseEnvironmentFile(readFile(file, kFileLimit));
    for (const auto& entry : parsed.entries)
      environment[entry.name] = {entry.value, fmt::format("{}:{}", file, entry.line)};
    for (const auto& warning : parsed.warnings) {
      problems.push_back({"env_file", file, warning.message, fmt::format("{}:{}", file, warning.line),
                          "systemd reads the file this way, see systemd.exec(5)", true});
    }
  } catch (const Error& error) {
    interrupt::check();
    const auto& remedy = error.code() == Code::Io && !error.hint().empty() ? error.hint() : hint;
    problems.push_back({"env_file", file, error.what(), file, remedy, false, error.code() == Code::Permission});
  }
}

}  // namespace aragora::config
