// One file of a backup: bytes go through zstd, age and SHA-256 into a file, and back. Sealing and writing run in a
// thread of their own behind a bounded queue, so that compression and input overlap with it; on the way back decrypting
// and decompressing do. Memory is a few MiB at any size.
#pragma once

#include <memory>

#include "common/backup/manifest.h"
#include "common/base/progress.h"
#include "common/storage/place.h"

namespace aragora::backup {

struct ArtifactOptions {
  std::vector<std::string> recipients;  // 32-byte keys
  int compression_level = 1;
  std::uint64_t max_rate = 0;  // stored bytes a second, 0: unlimited
  bool plain_digest = true;    // false for content that brings digests of its own
};

// For the deployment's own key and further recipients (age1…). Throws Error(Config) for one that is none.
ArtifactOptions sealingFor(const crypto::Keyring& keyring, const std::vector<std::string>& further, int level);

class ArtifactWriter {
 public:
  ArtifactWriter(const fs::path& directory, std::string name, std::string content, const ArtifactOptions& options);
  ~ArtifactWriter();
  void write(std::string_view plain);
  // Flushes everything to disk. Without it the file is worthless and is never listed.
  FileRecord finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Decrypts and decompresses into `sink`; every byte that reaches it was authenticated. Throws Error(Damaged) when a
// size or digest differs from `record`, at the latest at the end: what the sink made must not be used before this
// returns. Counts its plain bytes.
void readArtifact(const storage::Place& directory, const FileRecord& record,
                  const std::vector<crypto::AgeIdentity>& identities, const ByteSink& sink,
                  Progress* progress = nullptr);
// Size and SHA-256 of the stored file only; needs no key. Counts its stored bytes.
void checkStored(const storage::Place& directory, const FileRecord& record, Progress* progress = nullptr);
// Of every file of a backup.
void checkStored(const storage::Place& directory, const Manifest& manifest, Progress* progress);

}  // namespace aragora::backup
