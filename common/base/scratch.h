// Scratch: directories of mode 0700 that are removed when their owner ends, whatever ends it. Each is held by a lock
// that dies with the process, so that a run finds what a killed one left, and removes it, and leaves the living alone.
#pragma once

#include <string>
#include <vector>

#include "common/base/file.h"
#include "common/base/interrupt.h"

namespace aragora {

// Where scratch goes: below the state directory that was named. As root, whose servers run as another user who cannot
// enter there: TMPDIR, otherwise /var/tmp, which is a disk where /tmp may be memory. Also when the state cannot be
// written to: the system's temporary directory.
void keepScratchBelow(const fs::path& state_directory);
fs::path scratchDirectory();
// Removes what killed runs left there and in the temporary directory, and says so.
void sweepScratch(const fs::path& base);

// A fresh directory below `base`, removed with its contents on destruction. Without a base: below scratchDirectory(),
// or where that is too long for the path of a socket, below the temporary directory. Throws Error(CannotCreate).
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const fs::path& base = {});
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory();
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  Fd lock_;
  std::optional<interrupt::Obligation> obligation_;
};

// Holds a directory as scratch is held; invalid when somebody else holds it.
Fd lockDirectory(const fs::path& path);
// Removes a directory that was held so, when its run is dead. False when somebody holds it.
bool removeIfAbandoned(const fs::path& path);

// Says, in a file beside scratch, that this run uses something elsewhere under `name`, such as a database.
class ScratchMark {
 public:
  explicit ScratchMark(const std::string& name);
  ScratchMark(const ScratchMark&) = delete;
  ScratchMark& operator=(const ScratchMark&) = delete;
  ~ScratchMark();
  // What this user's runs marked that do not live any more; forget() when it is gone.
  static std::vector<std::string> abandoned();
  static void forget(const std::string& name);

 private:
  fs::path path_;
  std::optional<FileLock> lock_;
};

}  // namespace aragora
