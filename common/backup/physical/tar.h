// Reads and writes a POSIX ustar stream (IEEE Std 1003.1, pax utility; with base-256 sizes above 8 GiB) as it arrives.
// Checks header sums and that every name stays inside; keeps nothing but the current header. Throws Error(Damaged).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/base/file.h"

namespace aragora::backup {

struct TarEntry {
  enum class Type { File, Directory, Symlink };
  std::string name;  // relative, no "." or ".." parts, no trailing slash
  Type type = Type::File;
  std::uint64_t size = 0;
  unsigned mode = 0;
  std::string link;  // of a symlink
};

struct TarEvents {
  std::function<void(const TarEntry&)> entry;
  std::function<void(std::string_view)> data;  // of the file that was announced last
  std::function<void()> end_of_file;           // after its last byte; files only
};

class TarReader {
 public:
  explicit TarReader(TarEvents events) : events_(std::move(events)) {}
  void write(std::string_view bytes);
  void finish();  // the archive must have ended with its empty block

 private:
  void readHeader();
  TarEvents events_;
  std::string header_;
  TarEntry entry_;
  std::uint64_t data_left_ = 0;
  std::uint64_t padding_left_ = 0;
  bool ended_ = false;
};

// Names of at most 100 bytes. Throws Error(Io) for a file that changes its size while it is read.
class TarWriter {
 public:
  explicit TarWriter(ByteSink sink) : sink_(std::move(sink)) {}
  void directory(const std::string& name);
  void file(const std::string& name, const fs::path& path);
  void finish();

 private:
  void header(const std::string& name, char type, std::uint64_t size);
  ByteSink sink_;
};

}  // namespace aragora::backup
