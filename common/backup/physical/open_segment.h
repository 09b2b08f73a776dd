// The segment that is being received: a plain file that grows, with the digest of what is in it. The receiver's own,
// in its thread.
#pragma once

#include "common/base/file.h"
#include "common/crypto/hash.h"

namespace aragora::backup {

class OpenSegment {
 public:
  // `confirmed` bytes at its beginning were promised before: they come once more and must agree.
  void open(const fs::path& path, std::uint64_t confirmed);
  bool isOpen() const { return file_.valid(); }
  const fs::path& path() const { return path_; }  // also after it was closed
  // Whether these bytes are what was confirmed there; what was not is as it comes.
  bool agrees(std::string_view bytes, std::uint64_t offset) const;
  void write(std::string_view bytes, std::uint64_t offset);
  void sync() const;
  std::string digest() const { return hash_.soFarHex(); }
  void close() { file_.reset(); }

 private:
  Fd file_;
  fs::path path_;
  std::uint64_t confirmed_ = 0;
  crypto::Sha256 hash_;
};

}  // namespace aragora::backup
