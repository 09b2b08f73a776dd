#include "common/base/abilities.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/file.h"

namespace aragora {

namespace {
class Folder {
 public:
  explicit Folder(const fs::path& directory) : path_(directory / fmt::format(".tmp-abilities-{}", ::getpid())) {
    makeDirectories(path_, 0700);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

Fd made(const fs::path& file) {
  Fd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) throwSystemError(Code::CannotCreate, "create", file.string(), errno);
  return fd;
}
}  // namespace

Abilities tryAbilities(const fs::path& directory) {
  const Folder folder(directory);
  const auto file = folder.path() / "file";
  const Fd fd = made(file);
  Abilities found;
  found.locks = ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
  if (::symlink("file", (folder.path() / "symbolic").c_str()) != 0)
    found.lacks.emplace_back("symbolic links (latest is a file with the name in it)");
  if (::link(file.c_str(), (folder.path() / "hard").c_str()) != 0)
    found.lacks.emplace_back("hard links (files are copied instead)");
  const Fd opened(::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened.valid() || ::fsync(opened.get()) != 0)
    found.lacks.emplace_back("fsync of directories (a power cut can undo the newest backup)");
  return found;
}

bool hasNoLinks(int error_number) {
  return error_number == EPERM || error_number == EOPNOTSUPP || error_number == ENOSYS;
}

void linkOrCopy(const fs::path& from, const fs::path& to) {
  if (::link(from.c_str(), to.c_str()) == 0) return;
  if (!hasNoLinks(errno)) throwSystemError(Code::CannotCreate, "create", to.string(), errno);
  const Fd target = made(to);
  readThrough(from, [&](std::string_view bytes) { writeAll(target.get(), bytes, to); });
  syncFile(target.get(), to);
}

}  // namespace aragora
