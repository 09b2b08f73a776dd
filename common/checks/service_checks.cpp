// What the service will be able to read and write, looked at with its user's rights.
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/account.h"
#include "common/base/text.h"
#include "common/checks/settings_checks.h"

namespace aragora::checks {

namespace {
constexpr const char* kUnitsConfiguration = "/etc/aragora/aragora.toml";

// The unit that was asked about, or the one that these settings are for.
std::string userOf(const Context& context) {
  if (!context.unit_user.empty()) return context.unit_user;
  return ::geteuid() == 0 && context.config_file == kUnitsConfiguration && findAccount(kServiceUser) ? kServiceUser
                                                                                                     : "";
}

// The file and every file that a setting's value lies in.
std::set<fs::path> filesToRead(const Context& context) {
  std::set<fs::path> files;
  if (!context.config_file.empty()) files.insert(context.config_file);
  for (const auto& setting : config::catalogue()) {
    const auto origin = context.config.origin(setting.key);
    const auto end = origin.text.find(" (");
    const bool by_systemd = origin.text.find("LoadCredential") != std::string::npos;  // who hands it over as root
    if (origin.source == config::Source::SecretFile && !by_systemd) files.insert(origin.text.substr(0, end));
    if (origin.source == config::Source::Generated) files.insert(origin.text);
  }
  return files;
}

// The directory on the way that does not let the user pass, or the file.
fs::path obstacle(const Account& account, const fs::path& path) {
  fs::path at;
  for (const auto& part : path.parent_path()) {
    at /= part;
    if (accessAs(account, at, X_OK) != 0) return at;
  }
  return path;
}

// What is told from its name to be the service's own may be given to it; another directory has other users.
bool isOurs(const fs::path& path) {
  return std::any_of(path.begin(), path.end(),
                     [](const fs::path& part) { return part.string().find("aragora") != std::string::npos; });
}

std::string howToLet(const Account& account, bool write, const fs::path& path, const fs::path& there) {
  if (!isOurs(there) && write) return "name a directory of the service's own, such as one below /var/lib/aragora";
  if (!isOurs(there))
    return fmt::format("copy {} to a directory of the service's own, such as /etc/aragora, and name that",
                       path.string());
  if (write && there == path) return fmt::format("chown -R {0}:{0} {1}", account.name, path.string());
  const bool directory = write || there != path;
  return fmt::format("chgrp {} {} && chmod g+{} {}", account.name, there.string(), directory ? "x" : "r",
                     there.string());
}

// Made by a user of their own, who lets this one read them.
bool backupsAreAnothers(const Context& context, const Account& account) {
  struct stat status {};
  return !context.config.flag(config::key::kBackupContinuous) &&
         ::stat(context.config.backupDirectory().c_str(), &status) == 0 && status.st_uid != account.user &&
         status.st_uid != 0;
}

Finding cannot(const Account& account, const char* what, const fs::path& path, int failed) {
  const auto there = obstacle(account, path);
  const auto fix = howToLet(account, std::string_view(what) == "write", path, there);
  return misconfigured(
      fmt::format("Service user: {} cannot {} {}: {}", account.name, what, path.string(), systemError(failed)),
      there.string(), fix);
}
}  // namespace

std::vector<Finding> checkServiceUser(const Context& context) {
  const auto name = userOf(context);
  if (name.empty()) return {skipped("Service user: these settings are of whoever runs this")};
  const auto account = findAccount(name);
  if (!account)
    return {misconfigured(fmt::format("Service user: there is no user {}", name), "the unit", "systemd-sysusers")};
  if (::geteuid() != 0 && ::geteuid() != account->user)
    return {
        warning(fmt::format("Service user: only root can look with the rights of {}", name), "", "run this with sudo")};
  std::vector<Finding> findings;
  const auto files = filesToRead(context);
  for (const auto& file : files) {
    if (const int failed = accessAs(*account, file, R_OK); failed != 0)
      findings.push_back(cannot(*account, "read", file, failed));
  }
  std::size_t written = 0;
  for (const auto& directory : {context.config.stateDirectory(), context.config.backupDirectory()}) {
    const bool reads = directory == context.config.backupDirectory() && backupsAreAnothers(context, *account);
    const int failed = accessAs(*account, directory, (reads ? R_OK : W_OK) | X_OK);
    if (failed == 0 && !reads) ++written;
    if (failed != 0 && failed != ENOENT)
      findings.push_back(cannot(*account, reads ? "read" : "write", directory, failed));
  }
  if (findings.empty())
    findings.push_back(
        ok(fmt::format("Service user: {} reads {} of settings and writes {} of 2 directories that "
                       "are there",
                       name, counted(files.size(), "file"), written)));
  return findings;
}

}  // namespace aragora::checks
