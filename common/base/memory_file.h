// A sealed file that exists in memory only: a secret for a program that we start, which never touches a disk.
#pragma once

#include "common/base/file.h"
#include "common/base/secret.h"

namespace aragora {

// Readable as often as wanted, changed by nobody. Hand it on with Command::descriptors; there its path is pathOf().
Fd sealedInMemory(const std::string& name, const Secret& content);
std::string pathOf(const Fd& fd);
// The descriptor that «/proc/self/fd/N» or «/dev/fd/N» names.
std::optional<int> descriptorOf(const std::string& path);

}  // namespace aragora
