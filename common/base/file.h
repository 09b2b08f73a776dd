// Files as this product uses them: bounded reads, durable atomic writes (write, fsync, rename, fsync of the directory),
// one owned descriptor type and an advisory lock that dies with its process. Failures are Errors that name the path.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace aragora {

namespace fs = std::filesystem;

// Takes bytes as they come.
using ByteSink = std::function<void(std::string_view)>;

// Owns a descriptor; closes it on destruction. Move-only.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd() { reset(); }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void reset();
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// A file; or what a shell hands over in the place of one: the pipe of --config <(…), /dev/null. Never waits: a named
// pipe and whatever else gives no bytes of its own is Error(Io).
Fd openForReading(const fs::path& path);
// For a file that a library opens by itself: a named pipe, which would hold it for good, is Error(Config). `name` is of
// what names the file.
void refuseNamedPipe(std::string_view name, const fs::path& path);
// Feeds the file, from where the descriptor stands, to `sink` in blocks. Minds interrupts; a pipe or a terminal that
// does not end within half a minute is Error(Io).
void readThrough(const Fd& fd, const fs::path& path_for_errors, const ByteSink& sink);
void readThrough(const fs::path& path, const ByteSink& sink);
// Whole file, at most `limit` bytes (more is Error(Damaged)). A pipe with nothing in it is Error(Io): what it held was
// read before, or whoever should write it failed.
std::string readFile(const fs::path& path, std::size_t limit = 16U << 20);
// False only when it is not there; Error(Permission) when nobody lets us look.
bool fileExists(const fs::path& path);
std::optional<std::string> readFileIfExists(const fs::path& path, std::size_t limit = 16U << 20);
// Replaces `path` as a whole or not at all; the new content is on disk when this returns. What was there gives its
// owner (when we are root) and its mode to what takes its place.
void writeFileAtomically(const fs::path& path, std::string_view content, unsigned mode = 0644);
// Opens for writing and creates (O_CREAT, O_CLOEXEC, O_NOFOLLOW and O_WRONLY unless O_RDWR are added to the flags).
// What root makes in somebody's directory is that one's: an administrator's command leaves nothing that the service
// cannot use. The same for all that creates here.
Fd createFile(const fs::path& path, int flags, unsigned mode);
// Gives the open file the owner (as root) and the mode of the regular file that it will replace, if there is one.
void takeAfter(const Fd& fd, const fs::path& replaced);
// To the owner of `path`'s directory, when we are root and that is somebody else.
void adoptOwner(const fs::path& path);
// Creates `path` and fails with CannotCreate when it exists.
// What link() says on a file system without hard links.
bool withoutLinks(int failed);
// Whole or not at all, and only where there is none: false when there is one. Of several that try at once one wins.
bool createFileOnce(const std::filesystem::path& path, std::string_view content, unsigned mode);
void createFileExclusively(const fs::path& path, std::string_view content, unsigned mode);
void writeAll(int fd, std::string_view bytes, const fs::path& path_for_errors);
void syncFile(int fd, const fs::path& path_for_errors);
void syncDirectory(const fs::path& directory);
// Whatever was written to the file system that this directory is in: for a tree of many files (syncfs(2)).
void syncFileSystem(const fs::path& directory);
void renameDurably(const fs::path& from, const fs::path& to);
void makeDirectories(const fs::path& directory, unsigned mode = 0755);

// flock(2) on a lock file, close-on-exec, freed by the kernel when the process dies. The holder's pid is written into
// it for messages.
class FileLock {
 public:
  // nullopt when another process holds it.
  static std::optional<FileLock> tryAcquire(const fs::path& path);
  // Waits up to `wait` for the holder to let go, then Error(Busy): "`what` (process N)". Blocks; looks every 100 ms.
  static FileLock acquire(const fs::path& path, const std::string& what,
                          std::chrono::seconds wait = std::chrono::seconds(0));
  static std::string holder(const fs::path& path);

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace aragora
