#include "common/base/file.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"
#include "common/base/owner.h"
#include "common/base/text.h"

namespace aragora {

namespace {
constexpr std::size_t kReadBlock = 256 * 1024;
constexpr std::chrono::seconds kPatience{30};  // with what is no file
}  // namespace

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Fd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

namespace {
struct stat statusOf(const Fd& fd, const fs::path& path_for_errors) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) throwSystemError(Code::Io, "look at", path_for_errors.string(), errno);
  return status;
}

// Made for whoever was given it, as a shell does; one with a name may wait for somebody who never comes.
bool isNamelessPipe(const Fd& fd, const struct stat& status) {
  struct statfs system {};
  return S_ISFIFO(status.st_mode) && ::fstatfs(fd.get(), &system) == 0 && system.f_type == PIPEFS_MAGIC;
}
}  // namespace

Fd openForReading(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid()) throwFileError(errno == ENOENT ? Code::NoInput : Code::Io, "open", path, errno);
  const auto status = statusOf(fd, path);
  if (S_ISREG(status.st_mode) || S_ISCHR(status.st_mode) || isNamelessPipe(fd, status)) return fd;
  throw Error(Code::Io,
              fmt::format("{} is {}, not a file", path.string(),
                          S_ISDIR(status.st_mode)    ? "a directory"
                          : S_ISFIFO(status.st_mode) ? "a named pipe"
                                                     : "a device"),
              "name the file itself");
}

void refuseNamedPipe(std::string_view name, const fs::path& path) {
  std::error_code ignored;
  if (fs::is_fifo(path, ignored))
    throw Error(Code::Config, fmt::format("{} {} is a named pipe, not a file", name, path.string()),
                "name the file itself");
}

void readThrough(const Fd& fd, const fs::path& path_for_errors, const ByteSink& sink) {
  std::vector<char> buffer(kReadBlock);
  const auto deadline = deadlineIn(kPatience);
  while (true) {
    interrupt::check();
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {  // never a file
      if (interrupt::waitFor(fd.get(), POLLIN, deadline)) continue;
      throw Error(Code::Io, fmt::format("{} did not end within {}", path_for_errors.string(), humanDuration(kPatience)),
                  "see what writes it");
    }
    if (got < 0) throwSystemError(Code::Io, "read", path_for_errors.string(), errno);
    if (got == 0) return;
    sink(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
  }
}

void readThrough(const fs::path& path, const ByteSink& sink) { readThrough(openForReading(path), path, sink); }

std::string readFile(const fs::path& path, std::size_t limit) {
  std::string content;
  const auto fd = openForReading(path);
  readThrough(fd, path, [&](std::string_view bytes) {
    content += bytes;
    if (content.size() > limit) {
      throw Error(Code::Damaged,
                  fmt::format("{} is larger than the {} expected there", path.string(), humanBytes(limit)));
    }
  });
  if (content.empty() && S_ISFIFO(statusOf(fd, path).st_mode))
    throw Error(Code::Io, fmt::format("{} is a pipe that holds nothing", path.string()),
                "one can be read a single time: write a file where it is read again, as for a reload");
  return content;
}

bool fileExists(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  throwFileError(Code::Io, "look at", path, errno);
}

std::optional<std::string> readFileIfExists(const fs::path& path, std::size_t limit) {
  if (!fileExists(path)) return std::nullopt;
  return readFile(path, limit);
}

void writeAll(int fd, std::string_view bytes, const fs::path& path_for_errors) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throwSystemError(Code::Io, "write", path_for_errors.string(), errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
}

void syncFile(int fd, const fs::path& path_for_errors) {
  if (::fsync(fd) != 0) throwSystemError(Code::Io, "fsync", path_for_errors.string(), errno);
}

void syncDirectory(const fs::path& directory) {
  const Fd fd(::open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) throwSystemError(Code::Io, "open", directory.string(), errno);
  if (::fsync(fd.get()) == 0) return;
  // CIFS, exFAT and some FUSE file systems have no such thing: what they keep is kept all the same.
  if (errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
    throwSystemError(Code::Io, "fsync", directory.string(), errno);
  static std::atomic<bool> told{false};
  if (!told.exchange(true))
    log::warning("the file system of {} cannot sync a directory: a power cut can undo what was done there last",
                 directory.string());
}

void syncFileSystem(const fs::path& directory) {
  const Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::syncfs(fd.get()) != 0) throwSystemError(Code::Io, "sync", directory.string(), errno);
}

void renameDurably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    throwSystemError(Code::CannotCreate, "rename", fmt::format("{} to {}", from.string(), to.string()), errno);
  }
  syncDirectory(to.parent_path());
}

namespace {
// Whose directory this is in, when root is to leave it to somebody else.
std::optional<struct stat> heir(const fs::path& path) {
  struct stat directory {};
  if (::geteuid() != 0) return std::nullopt;
  const auto parent = path.parent_path();
  if (::stat(parent.empty() ? "." : parent.c_str(), &directory) != 0 || directory.st_uid == 0) return std::nullopt;
  return directory;
}
}  // namespace

Fd createFile(const fs::path& path, int flags, unsigned mode) {
  requireOurs(path.parent_path());
  const int access = (flags & O_RDWR) != 0 ? 0 : O_WRONLY;
  Fd fd(::open(path.c_str(), access | O_CREAT | O_CLOEXEC | O_NOFOLLOW | flags, mode));
  if (!fd.valid()) throwFileError(Code::CannotCreate, "create", path, errno);
  // Also one that an earlier run left to root. Not one with another name: that may be a trap, laid to be given it.
  struct stat made {};
  if (const auto owner = heir(path); owner && ::fstat(fd.get(), &made) == 0 && made.st_uid == 0 && made.st_nlink == 1 &&
                                     ::fchown(fd.get(), owner->st_uid, owner->st_gid) != 0)
    throwSystemError(Code::Permission, "change the owner of", path.string(), errno);
  return fd;
}

void adoptOwner(const fs::path& path) {
  if (const auto owner = heir(path); owner && ::lchown(path.c_str(), owner->st_uid, owner->st_gid) != 0)
    throwSystemError(Code::Permission, "change the owner of", path.string(), errno);
}

void takeAfter(const Fd& fd, const fs::path& replaced) {
  struct stat before {};
  if (::lstat(replaced.c_str(), &before) != 0 || !S_ISREG(before.st_mode)) return;
  // One of root's in a directory of somebody else is the fault of an earlier run, not to be kept.
  if (::geteuid() == 0 && before.st_uid != 0 && ::fchown(fd.get(), before.st_uid, before.st_gid) != 0)
    throwSystemError(Code::Permission, "change the owner of", replaced.string(), errno);
  if (::fchmod(fd.get(), before.st_mode & 07777) != 0)
    throwSystemError(Code::Permission, "change the mode of", replaced.string(), errno);
}

namespace {
// Of its own for every writer: two threads, or two processes in different containers, may have the same number.
fs::path writeTemporary(const fs::path& path, std::string_view content, unsigned mode) {
  std::random_device random;
  const fs::path temporary = path.string() + fmt::format(".tmp-{}-{:08x}", ::getpid(), random());
  const Fd fd = createFile(temporary, O_EXCL, mode);
  try {
    takeAfter(fd, path);
    writeAll(fd.get(), content, temporary);
    syncFile(fd.get(), temporary);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
  return temporary;
}
}  // namespace

bool withoutLinks(int failed) { return failed == EPERM || failed == EOPNOTSUPP || failed == ENOSYS; }

void writeFileAtomically(const fs::path& path, std::string_view content, unsigned mode) {
  const auto temporary = writeTemporary(path, content, mode);
  try {
    renameDurably(temporary, path);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

bool createFileOnce(const fs::path& path, std::string_view content, unsigned mode) {
  const auto temporary = writeTemporary(path, content, mode);
  const int failed = ::link(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
  std::error_code ignored;
  if (withoutLinks(failed) && !fs::exists(path, ignored)) {
    renameDurably(temporary, path);
    return true;
  }
  fs::remove(temporary, ignored);
  if (failed != 0 && failed != EEXIST && !withoutLinks(failed))
    throwSystemError(Code::CannotCreate, "create", path.string(), failed);
  if (failed == 0) syncDirectory(path.parent_path());
  return failed == 0;
}

void createFileExclusively(const fs::path& path, std::string_view content, unsigned mode) {
  const Fd fd = createFile(path, O_EXCL, mode);
  writeAll(fd.get(), content, path);
  syncFile(fd.get(), path);
  syncDirectory(path.parent_path());
}

void makeDirectories(const fs::path& directory, unsigned mode) {
  if (directory.empty()) return;
  struct stat status {};
  if (::stat(directory.c_str(), &status) == 0) {
    if (!S_ISDIR(status.st_mode))
      throw Error(Code::CannotCreate, directory.string() + " exists and is not a directory");
    return;
  }
  if (errno != ENOENT && errno != ENOTDIR) throwFileError(Code::CannotCreate, "look at", directory, errno);
  makeDirectories(directory.parent_path(), mode);
  requireOurs(directory.parent_path());
  if (::mkdir(directory.c_str(), mode) == 0) return adoptOwner(directory);
  if (errno != EEXIST) throwFileError(Code::CannotCreate, "create directory", directory, errno);
}

std::optional<FileLock> FileLock::tryAcquire(const fs::path& path) {
  Fd fd = createFile(path, O_RDWR, 0640);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::nullopt;
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == ENOLCK)
      throw Error(Code::Io, fmt::format("cannot lock {}: {}", path.string(), systemError(errno)),
                  "two runs would not see each other: use a file system that has flock(2)");
    throwSystemError(Code::Io, "lock", path.string(), errno);
  }
  const auto pid = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd.get(), 0) == 0) (void)!::pwrite(fd.get(), pid.data(), pid.size(), 0);
  return FileLock(std::move(fd));
}

FileLock FileLock::acquire(const fs::path& path, const std::string& what, std::chrono::seconds wait) {
  const auto deadline = deadlineIn(wait);
  for (bool told = false;; std::this_thread::sleep_for(std::chrono::milliseconds(100))) {
    if (auto lock = tryAcquire(path)) return std::move(*lock);
    interrupt::check();
    const auto problem = fmt::format("{} ({})", what, holder(path));
    if (remaining(deadline).count() == 0) throw Error(Code::Busy, problem, "wait for it to end");
    if (!told) log::warning("{}; waiting for up to {}", problem, humanDuration(wait));
    told = true;
  }
}

std::string FileLock::holder(const fs::path& path) {
  const auto text = readFileIfExists(path, 64);
  return text && !text->empty() ? fmt::format("process {}", trim(*text)) : "another process";
}

}  // namespace aragora
