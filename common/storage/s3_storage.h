// A bucket of an S3-compatible store (Amazon S3 REST API 2006-03-01), path-style, signed with AWS Signature Version 4.
// Files above 8 MiB go as multipart uploads whose parts carry their own digests; a broken download goes on where it
// broke. Refusals by overload, broken connections and 5xx are tried again, at most five times with growing pauses.
// Minds interrupts: a transfer ends at once with Error(Interrupted).
#pragma once

#include <atomic>

#include "common/net/http_client.h"
#include "common/storage/signature_v4.h"
#include "common/storage/storage.h"

namespace aragora::storage {

struct S3Options {
  std::string endpoint;  // https://host[:port]
  std::string bucket;
  std::string prefix;  // before every name, empty or ending in a slash
  Credentials credentials;
  std::int64_t lock_days = 0;  // object lock (governance mode) of what is written; 0: the bucket's own rule
  std::chrono::milliseconds timeout{30'000};   // of each step on the network
  std::chrono::milliseconds first_pause{300};  // before the second try; doubles
  std::uint64_t part_size = 8U << 20;
};

class S3Storage : public Storage {
 public:
  explicit S3Storage(S3Options options);
  ~S3Storage() override;
  std::vector<Item> list(const std::string& folder, const Selection& selection) const override;
  std::optional<std::uint64_t> size(const std::string& name) const override;
  bool read(const std::string& name, const ByteSink& sink) const override;
  void write(const std::string& name, const fs::path& file, Progress* progress) const override;
  void remove(const std::string& name) const override;
  std::string describe(const std::string& name) const override;

 private:
  struct Range;
  struct Exchange;
  struct Answer;
  Answer exchange(const Exchange& exchange) const;
  Answer tryOnce(const Exchange& exchange) const;
  Answer send(const Exchange& exchange, const SignedRequest& signed_request) const;
  void requireBucket() const;
  void put(const std::string& name, const Range& content) const;
  void putInParts(const std::string& name, const Range& content, Progress* progress) const;
  void abortLeftovers(const std::string& name) const;
  void lock(Exchange& exchange) const;
  std::string pathOf(const std::string& name) const { return "/" + options_.bucket + "/" + options_.prefix + name; }
  S3Options options_;
  const net::Url endpoint_;
  const net::HttpClient client_;
  mutable std::atomic<bool> bucket_seen_{false};
};

}  // namespace aragora::storage
