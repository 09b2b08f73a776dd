#include "common/backup/physical/movement.h"

#include "common/base/file.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::uint64_t kTicks = 100;
constexpr std::uint64_t kBytes = 4U << 20;

std::optional<std::string> procFile(pid_t process, const char* name) {
  try {
    return readFileIfExists(fmt::format("/proc/{}/{}", process, name), 64 * 1024);
  } catch (const std::exception&) {  // it has just ended
    return std::nullopt;
  }
}

// Fields 4 (parent), 14 and 15 (time) of proc(5) stat; the name before them can hold anything.
std::vector<std::string> statFields(pid_t process) {
  const auto text = procFile(process, "stat").value_or("");
  const auto name_end = text.rfind(')');
  return name_end == std::string::npos ? std::vector<std::string>() : split(text.substr(name_end + 1), ' ');
}
}  // namespace

Movement::Work Movement::workOf(pid_t process) const {
  Work work;
  const auto fields = statFields(process);
  if (fields.size() < 13) return work;
  if (process != server_ && parseInteger(fields[1]).value_or(0) != server_) return work;
  work.ticks = static_cast<std::uint64_t>(parseInteger(fields[11]).value_or(0) + parseInteger(fields[12]).value_or(0));
  for (const auto& line : split(procFile(process, "io").value_or(""), '\n')) {
    if (startsWith(line, "rchar: ") || startsWith(line, "wchar: "))
      work.bytes += static_cast<std::uint64_t>(parseInteger(line.substr(7)).value_or(0));
  }
  return work;
}

Movement::Work Movement::total() const {
  Work all;
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator("/proc", ignored)) {
    const auto process = parseInteger(item.path().filename().string());
    if (!process) continue;
    const auto work = workOf(static_cast<pid_t>(*process));
    all.ticks += work.ticks;
    all.bytes += work.bytes;
  }
  return all;
}

bool Movement::noticed() {
  const auto now = total();
  // A process that ended takes its figures along.
  const bool fewer = now.ticks < last_.ticks || now.bytes < last_.bytes;
  if (!fewer && now.ticks - last_.ticks < kTicks && now.bytes - last_.bytes < kBytes) return false;
  last_ = now;
  return true;
}

}  // namespace aragora::backup
