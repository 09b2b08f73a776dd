#include "common/base/account.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <thread>
#include <vector>

#include "common/base/error.h"

namespace aragora {

namespace {
constexpr std::size_t kEntryLimit = 65536;
constexpr int kMostGroups = 1024;

template <typename Ask>
std::optional<Account> ask(Ask ask_system) {
  struct passwd entry {};
  struct passwd* found = nullptr;
  std::vector<char> buffer(kEntryLimit);
  if (ask_system(&entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) return std::nullopt;
  return Account{entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir};
}

std::vector<gid_t> groupsOf(const Account& account) {
  int count = kMostGroups;
  std::vector<gid_t> groups(kMostGroups);
  if (::getgrouplist(account.name.c_str(), account.group, groups.data(), &count) < 0) count = 0;
  groups.resize(static_cast<std::size_t>(count));
  return groups;
}

// The kernel's own calls: glibc's change the whole process.
bool become(const Account& account) {
  const auto groups = groupsOf(account);
  return ::syscall(SYS_setgroups, groups.size(), groups.data()) == 0 &&
         ::syscall(SYS_setresgid, account.group, account.group, account.group) == 0 &&
         ::syscall(SYS_setresuid, account.user, account.user, account.user) == 0;
}
}  // namespace

std::optional<Account> findAccount(const std::string& name) {
  return ask([&](auto... rest) { return ::getpwnam_r(name.c_str(), rest...); });
}

std::optional<Account> findAccount(uid_t user) {
  return ask([&](auto... rest) { return ::getpwuid_r(user, rest...); });
}

int accessAs(const Account& account, const fs::path& path, int mode) {
  if (account.user == ::geteuid()) return ::faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0 ? 0 : errno;
  int result = EPERM;
  std::thread([&] {
    if (become(account)) result = ::access(path.c_str(), mode) == 0 ? 0 : errno;
  }).join();
  return result;
}

void becomeForGood(const Account& account) {
  const auto groups = groupsOf(account);
  if (::setgroups(groups.size(), groups.data()) != 0 || ::setresgid(account.group, account.group, account.group) != 0 ||
      ::setresuid(account.user, account.user, account.user) != 0)
    throwSystemError(Code::Permission, "become", account.name, errno);
  ::setenv("HOME", account.home.c_str(), 1);
}

Command commandAs(const Account& account, Command command) {
  if (command.argv.empty() || !findProgram(command.argv.front())) return command;  // says itself what is missing
  std::vector<std::string> argv{"setpriv", fmt::format("--reuid={}", account.user),
                                fmt::format("--regid={}", account.group), "--init-groups", "--"};
  argv.insert(argv.end(), std::make_move_iterator(command.argv.begin()), std::make_move_iterator(command.argv.end()));
  command.argv = std::move(argv);
  command.environment.insert_or_assign("HOME", account.home.string());
  return command;
}

std::string lineForSecretFile(const std::string& file, std::optional<uid_t> owner_to_keep) {
  if (owner_to_keep.value_or(0) == 0 && findAccount(kServiceUser))
    return fmt::format("chown root:{0} {1} && chmod 640 {1}", kServiceUser, file);
  return owner_to_keep ? fmt::format("chmod 600 {}", file) : fmt::format("chown root {0} && chmod 600 {0}", file);
}

bool shareWithService(const fs::path& path, unsigned mode) {
  if (::geteuid() != 0) return false;
  const auto service = findAccount(kServiceUser);
  if (!service) return false;
  if (::lchown(path.c_str(), 0, service->group) != 0)
    throwSystemError(Code::Permission, "change the owner of", path.string(), errno);
  if (::chmod(path.c_str(), mode) != 0) throwSystemError(Code::Permission, "change the mode of", path.string(), errno);
  return true;
}

}  // namespace aragora
