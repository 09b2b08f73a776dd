#include "common/backup/physical/open_segment.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/base/error.h"

namespace aragora::backup {

void OpenSegment::open(const fs::path& path, std::uint64_t confirmed) {
  path_ = path;
  file_ = createFile(path_, O_RDWR, 0640);
  syncDirectory(path_.parent_path());
  hash_ = crypto::Sha256();
  confirmed_ = confirmed;
}

bool OpenSegment::agrees(std::string_view bytes, std::uint64_t offset) const {
  if (offset >= confirmed_) return true;
  bytes = bytes.substr(0, confirmed_ - offset);
  std::string known(bytes.size(), '\0');
  std::size_t got = 0;
  while (got < known.size()) {
    const ssize_t count =
        ::pread(file_.get(), known.data() + got, known.size() - got, static_cast<off_t>(offset + got));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throwSystemError(Code::Io, "read", path_.string(), errno);
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  return std::string_view(known).substr(0, got) == bytes.substr(0, got);
}

void OpenSegment::write(std::string_view bytes, std::uint64_t offset) {
  hash_.update(bytes);
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throwSystemError(Code::Io, "write", path_.string(), errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

void OpenSegment::sync() const {
  if (file_.valid()) syncFile(file_.get(), path_);
}

}  // namespace aragora::backup
