#include "common/backup/physical/unpack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

Unpacker::Unpacker(fs::path directory)
    : directory_(std::move(directory)),
      tar_({[this](const TarEntry& entry) { begin(entry); },
            [this](std::string_view bytes) { writeAll(file_.get(), bytes, path_); }, [this] { file_.reset(); }}) {
  if (::mkdir(directory_.c_str(), 0700) != 0)
    throwSystemError(Code::CannotCreate, "create", directory_.string(), errno);
}

void Unpacker::begin(const TarEntry& entry) {
  path_ = directory_ / entry.name;
  if (entry.type == TarEntry::Type::Symlink)
    throw Error(Code::Damaged, fmt::format("the base backup holds a link: {}", printable(entry.name, 80)));
  if (entry.type == TarEntry::Type::Directory) {
    if (::mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST)
      throwSystemError(Code::CannotCreate, "create", path_.string(), errno);
    return;
  }
  file_ = Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_.valid()) throwSystemError(Code::CannotCreate, "create", path_.string(), errno);
}

}  // namespace aragora::backup
