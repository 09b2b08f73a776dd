// One request to the store and its answer. Private to common/storage.
#pragma once

#include "common/base/file.h"
#include "common/storage/s3_answer.h"
#include "common/storage/s3_storage.h"

namespace aragora::storage {

// A stretch of a file, or of a text.
struct S3Storage::Range {
  const Fd* fd = nullptr;
  fs::path path;
  std::string_view text;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  static Range of(std::string_view text) { return {nullptr, {}, text, 0, text.size()}; }
  Range part(std::uint64_t from, std::uint64_t size) const { return {fd, path, text, offset + from, size}; }

  void feed(const ByteSink& sink) const;
};

struct S3Storage::Exchange {
  std::string what;  // for messages
  std::string method;
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
  std::map<std::string, std::string> headers;
  Range body;
  bool absent_is_normal = false;  // 404 is an answer
  ByteSink sink;                  // takes the body of a 200 or 206 as it comes
};

struct S3Storage::Answer {
  int status = 0;
  std::string text;
  std::string etag;
  std::int64_t length = -1;                        // of the object, as the header says
  bool broken = false;                             // the body did not come to its end
  bool hopeless = false;                           // nor would it the next time
  std::string problem;                             // of a connection that gave no answer
  std::optional<std::chrono::milliseconds> asked;  // to wait before the next try
};

// Throws the Error that an answer means which is no success.
[[noreturn]] void refuseS3(const std::string& what, int status, const S3Error& error);

}  // namespace aragora::storage
