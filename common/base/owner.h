// Who may write and read here, and the line to type for who may not. What root writes is the owner's of its directory
// (createFile in common/base/file.h); what anybody else would write into the directory of another user is refused
// before it is begun: that user could not go on with it.
#pragma once

#include <filesystem>
#include <string>

#include "common/base/error.h"

namespace aragora {

// Error(Permission) when what we make in `directory` could not be its owner's: we are neither that user nor root. A
// directory of root's, or one for everybody such as /tmp, is nobody's in this sense.
void requireOurs(const std::filesystem::path& directory);
// Other users do not find what we found by our environment: their lines name it. The first one counts,
// and comes before threads do.
void nameConfiguration(const std::filesystem::path& file);
// "sudo -u aragora aragora backup list": this run by the one who owns `path`, or the nearest above that can be seen.
std::string lineForOwnerOf(const std::filesystem::path& path);
// Throws Error(code) for a failed system call on a file; Permission with the line to type when rights were lacking.
[[noreturn]] void throwFileError(Code code, std::string_view action, const std::filesystem::path& path,
                                 int error_number);

}  // namespace aragora
