#include "common/base/owner.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

#include "common/base/shell.h"
#include "common/base/text.h"

namespace aragora {

namespace fs = std::filesystem;

namespace {
// Whom the kernel names when it may not say: an owner outside our user namespace, or everybody on some NFS servers.
// Nothing can be given to it, and what is written there gets it anyhow.
constexpr uid_t kUnmapped = 65534;

std::string userName(uid_t user) {
  std::vector<char> buffer(16384);
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return entry.pw_name;
  return fmt::format("#{}", user);
}

fs::path& configurationToName() {
  static fs::path file;
  return file;
}

// As it was typed; no secret is ever an argument.
std::string commandLine() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> words = split(text, '\0');
  if (words.empty()) return "aragora";
  words.front() = fs::path(words.front()).filename().string();
  for (auto& word : words) word = shellWord(printable(word, 200));
  if (const auto& named = configurationToName(); !named.empty())
    words.insert(words.begin() + 1, {"--config", shellWord(named.string())});
  return join(words, " ");
}

// Nobody typed the command line of a service, and nobody is to: it would run as root beside the unit.
bool startedByUnit() {
  const char* pid = std::getenv("SYSTEMD_EXEC_PID");
  return pid != nullptr && std::to_string(::getpid()) == pid;
}

std::string lineFor(uid_t owner) {
  if (owner == ::geteuid() || owner == kUnmapped) return "run as a user who may, or change the owner or mode";
  if (startedByUnit()) return fmt::format("change its owner, group or mode so that {} may", userName(::geteuid()));
  return owner == 0 ? fmt::format("sudo {}", commandLine())
                    : fmt::format("sudo -u {} {}", shellWord(userName(owner)), commandLine());
}

std::optional<struct stat> statusOf(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return status;
}
}  // namespace

void nameConfiguration(const fs::path& file) {
  std::error_code ignored;
  if (configurationToName().empty()) configurationToName() = fs::absolute(file, ignored);
}

void requireOurs(const fs::path& directory) {
  const auto us = ::geteuid();
  const auto status = us == 0 ? std::nullopt : statusOf(directory.empty() ? fs::path(".") : directory);
  if (!status || status->st_uid == us || status->st_uid == 0 || status->st_uid == kUnmapped) return;
  if ((status->st_mode & S_ISVTX) != 0) return;
  const auto owner = userName(status->st_uid);
  throw Error(Code::Permission,
              fmt::format("{} belongs to {}, who could not use what {} would write there", directory.string(), owner,
                          userName(us)),
              lineFor(status->st_uid));
}

std::string lineForOwnerOf(const fs::path& path) {
  for (auto at = fs::path(path).lexically_normal(); !at.empty(); at = at.parent_path()) {
    if (const auto status = statusOf(at)) return lineFor(status->st_uid);
    if (!at.has_relative_path()) break;
  }
  return lineFor(::geteuid());
}

void throwFileError(Code code, std::string_view action, const fs::path& path, int error_number) {
  if (error_number != EACCES && error_number != EPERM) throwSystemError(code, action, path.string(), error_number);
  throw Error(Code::Permission, fmt::format("cannot {} {}: {}", action, path.string(), systemError(error_number)),
              lineForOwnerOf(path));
}

}  // namespace aragora
