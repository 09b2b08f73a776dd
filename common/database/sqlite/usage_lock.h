// Who uses the embedded database: held by the daemon while it runs, and by a restore until its swap is done. It is of
// the file, not of a name: links are followed, and where the file exists its inode is locked too, so that every name of
// it (a link to it or to a folder above it, a hard link) means the same lock. Freed by the kernel when its process
// dies.
#pragma once

#include "common/base/file.h"

namespace aragora::database::sqlite {

// The file that a path leads to in the end, which need not exist yet. Error(Io) for links that lead in a circle.
fs::path realFile(const fs::path& path);

class UsageLock {
 public:
  // nullopt when another holds it. The folder must exist.
  static std::optional<UsageLock> tryAcquire(const fs::path& database);
  static std::string holder(const fs::path& database);
  // Once more when there was no file before. False when another holds it.
  bool coverFile();

 private:
  UsageLock(fs::path file, FileLock name) : file_(std::move(file)), name_(std::move(name)) {}
  fs::path file_;
  FileLock name_;
  Fd inode_;  // closed last of all: closing it ends SQLite's own locks of this process
};

}  // namespace aragora::database::sqlite
