// A file of the log that PostgreSQL will take. It must never see half a file under the name that it asked for. It need
// not be on disk: after a crash it asks again. The room of a segment is taken first, as PostgreSQL does: it uses the
// file again for log of its own, which must not find the disk full. The zeros that most of a segment may consist of are
// there with it and need not be copied. One owner; throws Error(CannotCreate | Io).
#pragma once

#include "common/base/file.h"

namespace aragora::backup {

class FileForRecovery {
 public:
  explicit FileForRecovery(const fs::path& path, std::uint64_t room = 0);
  void write(std::string_view bytes);
  void fillUpTo(std::uint64_t size);
  void finish();  // it gets its name

 private:
  fs::path path_;
  fs::path temporary_;
  Fd fd_;
  bool has_room_ = false;
  std::uint64_t size_ = 0;
};

}  // namespace aragora::backup
