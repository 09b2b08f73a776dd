#include "common/backup/physical/file_for_recovery.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "common/base/error.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kBlock = 64U << 10;

bool isZero(std::string_view bytes) {
  return !bytes.empty() && bytes.front() == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}
}  // namespace

FileForRecovery::FileForRecovery(const fs::path& path, std::uint64_t room)
    : path_(path),
      temporary_(path.string() + ".aragora"),
      fd_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {
  if (!fd_.valid()) throwSystemError(Code::CannotCreate, "create", temporary_.string(), errno);
  has_room_ = room > 0 && ::fallocate(fd_.get(), 0, 0, static_cast<off_t>(room)) == 0;
  if (room > 0 && !has_room_ && errno == ENOSPC) throwSystemError(Code::Io, "extend", temporary_.string(), errno);
}

void FileForRecovery::write(std::string_view bytes) {
  for (; !bytes.empty(); bytes.remove_prefix(std::min(kBlock, bytes.size()))) {
    const auto block = bytes.substr(0, kBlock);
    if (has_room_ && isZero(block)) {
      if (::lseek(fd_.get(), static_cast<off_t>(block.size()), SEEK_CUR) < 0)
        throwSystemError(Code::Io, "write", temporary_.string(), errno);
    } else {
      writeAll(fd_.get(), block, temporary_);
    }
    size_ += block.size();
  }
}

void FileForRecovery::fillUpTo(std::uint64_t size) {
  if (size_ < size && ::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
    throwSystemError(Code::Io, "extend", temporary_.string(), errno);
}

void FileForRecovery::finish() { fs::rename(temporary_, path_); }

}  // namespace aragora::backup
