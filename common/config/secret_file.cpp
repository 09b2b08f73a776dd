#include "common/config/secret_file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdlib>

#include "common/base/account.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/memory_file.h"
#include "common/base/text.h"

namespace aragora::config {

namespace {
constexpr std::size_t kSecretLimit = 64 * 1024;

bool isServiceGroup(gid_t group) {
  const auto service = findAccount(kServiceUser);
  return service && service->group == group;
}

// `container` is what container managers set (systemd's container interface); set to nothing it says that this is none.
bool inContainer() {
  std::error_code ignored;
  if (const char* manager = std::getenv("container"); manager != nullptr) return *manager != '\0';
  return std::getenv("KUBERNETES_SERVICE_HOST") != nullptr || fs::exists("/.dockerenv", ignored) ||
         fs::exists("/run/.containerenv", ignored);
}

bool onSecretMount(const fs::path& file) {
  for (const auto* mount : {"/run/secrets/", "/var/run/secrets/", "/run/credentials/"}) {
    if (startsWith(file.string(), mount)) return true;
  }
  struct statfs system {};
  struct statvfs flags {};
  return ::statfs(file.c_str(), &system) == 0 && (system.f_type == TMPFS_MAGIC || system.f_type == RAMFS_MAGIC) &&
         ::statvfs(file.c_str(), &flags) == 0 && (flags.f_flag & ST_RDONLY) != 0;
}

// Some directory on the way lets nobody pass who could make use of the file's mode.
bool behindADoor(const fs::path& file) {
  for (auto directory = file.parent_path(); directory.has_relative_path(); directory = directory.parent_path()) {
    struct stat status {};
    if (::stat(directory.c_str(), &status) != 0 || (status.st_mode & 01) != 0) continue;
    if ((status.st_mode & 010) == 0 || status.st_gid == 0 || isServiceGroup(status.st_gid)) return true;
  }
  return false;
}

// Where a link leads, when that is allowed.
std::optional<fs::path> followed(const fs::path& path) {
  std::error_code failed;
  const auto here = fs::canonical(path.parent_path(), failed);
  const auto file = failed ? fs::path() : fs::canonical(path, failed);
  if (failed || !startsWith(file.string(), here.string() + "/")) return std::nullopt;
  return file;
}

// Others than root, the owner and the service's group.
mode_t openTo(const struct stat& status) {
  auto bits = status.st_mode & 077;
  if (isServiceGroup(status.st_gid)) bits &= ~static_cast<mode_t>(040);
  return bits;
}

void lookAtMode(const std::string& named, const fs::path& file, const struct stat& status, SecretFile& result) {
  const auto bits = openTo(status);
  if (bits != 0) {
    const bool written = (bits & 022) != 0;
    const bool accepted = !written && (onSecretMount(file) || behindADoor(file));
    if (!accepted)
      result.troubles.push_back(
          {fmt::format("the secret file {} has mode {:04o}, others can {} it{}", named, status.st_mode & 07777,
                       written ? "change" : "read", written || !inContainer() ? "" : " (accepted in a container)"),
           lineForSecretFile(named, status.st_uid), !written && inContainer()});
  }
  if (mayOwnSecrets(status.st_uid) || onSecretMount(file)) return;
  result.troubles.push_back({fmt::format("the secret file {} belongs to user {}{}", named, status.st_uid,
                                         inContainer() ? " (accepted in a container)" : ""),
                             lineForSecretFile(named, std::nullopt), inContainer()});
}

std::optional<std::string> nameOf(std::string_view text, std::size_t at) {
  static const std::vector<std::pair<std::string_view, const char*>> kUnseen = {
      {"\xEF\xBB\xBF", "a byte order mark (U+FEFF)"}, {"\xE2\x80\x8B", "a zero-width space (U+200B)"},
      {"\xE2\x80\x8C", "a zero-width mark (U+200C)"}, {"\xE2\x80\x8D", "a zero-width mark (U+200D)"},
      {"\xE2\x80\x8E", "a direction mark (U+200E)"},  {"\xE2\x80\x8F", "a direction mark (U+200F)"},
      {"\xE2\x81\xA0", "a word joiner (U+2060)"},     {"\xC2\xA0", "a no-break space (U+00A0)"},
      {"\xC2\xAD", "a soft hyphen (U+00AD)"}};
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte == ' ') return "a blank (U+0020)";
  if (byte == '\t') return "a tab (U+0009)";
  if (byte == '\n') return "a line end (U+000A)";
  if (byte == '\r') return "a carriage return (U+000D)";
  if (byte < 0x20 || byte == 0x7F) return fmt::format("a control character (U+{:04X})", byte);
  for (const auto& [bytes, name] : kUnseen) {
    if (startsWith(text.substr(at), bytes)) return name;
  }
  return std::nullopt;
}
}  // namespace

bool mayOwnSecrets(uid_t user) {
  if (user == 0 || user == ::geteuid()) return true;
  const auto service = ::geteuid() == 0 ? findAccount(kServiceUser) : std::nullopt;
  return service && service->user == user;
}

std::string withoutFinalNewline(std::string text) {
  if (!endsWith(text, "\n")) return text;
  text.pop_back();
  if (endsWith(text, "\r")) text.pop_back();
  return text;
}

std::optional<std::string> invisibleIn(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto name = nameOf(text, at);
    if (!name) continue;
    const auto rest = text.substr(at);
    const auto end = std::find_if(rest.begin(), rest.end(), [](char c) { return static_cast<unsigned char>(c) > ' '; });
    if (at == 0) return "begins with " + *name;
    if (end == rest.end() || (text.size() - at <= 3 && *name != "a blank (U+0020)")) return "ends with " + *name;
    if (text[at] != ' ') return fmt::format("has {} after {} bytes", *name, at);
  }
  return std::nullopt;
}

SecretFile readSecretFile(const std::string& path, bool handed) {
  SecretFile result;
  struct stat status {};
  const auto descriptor = descriptorOf(path);
  fs::path file = path;
  if (descriptor) {
    ::fcntl(*descriptor, F_SETFD, FD_CLOEXEC);  // programs that we start do not get it
  } else if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
    const auto there = followed(path);
    if (!there) {
      result.troubles.push_back({fmt::format("{} is a link that leads out of its directory, or nowhere", path),
                                 "name the file itself, or let the link lead to one below its own directory"});
      return result;
    }
    file = *there;
  }
  if ((descriptor ? ::fstat(*descriptor, &status) : ::lstat(file.c_str(), &status)) != 0) {
    const bool forbidden = errno == EACCES;
    result.troubles.push_back({fmt::format("the file {} cannot be read: {}", path, systemError(errno)),
                               forbidden ? "run as a user who may" : "create it with mode 0600, or correct its name",
                               false, forbidden});
    return result;
  }
  const bool pipe = descriptor && S_ISFIFO(status.st_mode);  // as of a shell's <(…): nobody else's
  if (!S_ISREG(status.st_mode) && !pipe) {
    result.troubles.push_back({fmt::format("{} is not a regular file", path), "name the file itself"});
    return result;
  }
  if (!handed && !pipe) lookAtMode(path, file, status, result);
  try {
    result.text = withoutFinalNewline(readFile(file, kSecretLimit));
  } catch (const Error& error) {
    interrupt::check();
    result.troubles.push_back({error.what(), error.hint(), false, error.code() == Code::Permission});
  }
  return result;
}

}  // namespace aragora::config
