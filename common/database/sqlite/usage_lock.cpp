#include "common/database/sqlite/usage_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include "common/base/error.h"

namespace aragora::database::sqlite {

namespace {
constexpr int kLinks = 40;  // as many as Linux follows

fs::path besideIt(const fs::path& file) { return file.string() + ".lock"; }
}  // namespace

fs::path realFile(const fs::path& path) {
  std::error_code ignored;
  auto at = fs::absolute(path);
  for (int i = 0; i < kLinks; ++i) {
    at = fs::weakly_canonical(at.parent_path()) / at.filename();
    if (!fs::is_symlink(at, ignored)) return at;
    at = at.parent_path() / fs::read_symlink(at);
  }
  throw Error(Code::Io, fmt::format("{} is a link that leads in a circle", path.string()), "remove it");
}

std::optional<UsageLock> UsageLock::tryAcquire(const fs::path& database) {
  auto file = realFile(database);
  auto name = FileLock::tryAcquire(besideIt(file));
  if (!name) return std::nullopt;
  UsageLock lock(std::move(file), std::move(*name));
  if (!lock.coverFile()) return std::nullopt;
  return lock;
}

std::string UsageLock::holder(const fs::path& database) { return FileLock::holder(besideIt(realFile(database))); }

bool UsageLock::coverFile() {
  if (inode_.valid()) return true;
  Fd fd(::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid() && errno == ENOENT) return true;
  if (!fd.valid()) throwSystemError(Code::Io, "open", file_.string(), errno);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return false;
    throwSystemError(Code::Io, "lock", file_.string(), errno);
  }
  inode_ = std::move(fd);
  return true;
}

}  // namespace aragora::database::sqlite
