#include "common/base/memory_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora {

Fd sealedInMemory(const std::string& name, const Secret& content) {
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) throwSystemError(Code::CannotCreate, "create in memory", name, errno);
  if (::fchmod(fd.get(), 0400) != 0) throwSystemError(Code::Io, "protect", name, errno);
  writeAll(fd.get(), content.reveal(), name);
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    throwSystemError(Code::Io, "seal", name, errno);
  return fd;
}

std::string pathOf(const Fd& fd) { return fmt::format("/proc/self/fd/{}", fd.get()); }

std::optional<int> descriptorOf(const std::string& path) {
  for (const std::string_view prefix : {"/proc/self/fd/", "/dev/fd/"}) {
    if (!startsWith(path, prefix)) continue;
    const auto number = parseInteger(std::string_view(path).substr(prefix.size()));
    if (number && *number >= 0 && *number < (1 << 20)) return static_cast<int>(*number);
  }
  return std::nullopt;
}

}  // namespace aragora
