// Users of this machine: the one that the units run as, and what another one may do. Any thread; what is answered is a
// copy.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "common/base/file.h"
#include "common/base/subprocess.h"

namespace aragora {

struct Account {
  std::string name;
  uid_t user = 0;
  gid_t group = 0;
  fs::path home;
};

// The name that systemd/aragora.sysusers makes.
inline constexpr const char* kServiceUser = "aragora";

// nullopt when there is no such user.
std::optional<Account> findAccount(const std::string& name);
std::optional<Account> findAccount(uid_t user);

// Whether that user may do this (R_OK, W_OK, X_OK) to the path; for ourselves and, as root, for anybody. Done with that
// user's rights in a thread of its own (credentials(7): the kernel keeps them a thread), so that ACLs, groups and mount
// options are asked and not guessed. Answers 0 or errno.
int accessAs(const Account& account, const fs::path& path, int mode);

// What to type for a file of secrets: with its owner kept, or made root's. Never takes it away from the service, which
// reads root's files by its group.
std::string lineForSecretFile(const std::string& file, std::optional<uid_t> owner_to_keep);

// As root: from here on this whole process is that user, in groups and HOME too. Throws Error(Permission).
void becomeForGood(const Account& account);

// As root: the same command with that user's rights, groups and HOME (setpriv(1)).
Command commandAs(const Account& account, Command command);

// The one rule for what the service reads and must not change: it is root's, and the service's group may read it (files
// 0640, directories 0750). False, and nothing done, when we are not root or there is no such user: then it stays ours
// alone.
bool shareWithService(const fs::path& path, unsigned mode);

}  // namespace aragora
