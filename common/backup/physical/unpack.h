// A tar stream becomes a new directory: regular files and directories only, below it, never through a link. Whoever
// gives up on it removes the directory. One owner.
#pragma once

#include "common/backup/physical/tar.h"
#include "common/base/file.h"

namespace aragora::backup {

class Unpacker {
 public:
  // Makes the directory, which must not exist: Error(CannotCreate).
  explicit Unpacker(fs::path directory);
  // Error(Damaged) for anything that would land elsewhere or is no file, Error(Io).
  void write(std::string_view bytes) { tar_.write(bytes); }
  // Everything is there when it returns, not yet on the disk: syncFileSystem().
  void finish() { tar_.finish(); }

 private:
  void begin(const TarEntry& entry);
  fs::path directory_;
  fs::path path_;
  Fd file_;
  TarReader tar_;
};

}  // namespace aragora::backup
