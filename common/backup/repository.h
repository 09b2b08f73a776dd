// The directory of backups: full/<UTC>-<ulid>/ and base/<UTC>-<ulid>/ (one object looks at one kind), `latest` and
// `latest-base` (links to the newest), verified/<id>.json (what verification
// found), .lock. A backup becomes visible by one rename; names that start with a dot are unfinished or being removed.
#pragma once

#include <optional>

#include "common/backup/manifest.h"
#include "common/base/file.h"

namespace aragora::backup {

struct Verification {
  int level = 0;
  bool ok = false;
  Micros at = 0;
  std::string message;
};

struct Entry {
  std::string id;
  fs::path directory;
  std::optional<Manifest> manifest;  // absent when it cannot be read; see `problem`
  std::string manifest_sha256;
  std::string problem;
  std::vector<Verification> verifications;  // oldest first

  bool good() const { return manifest && problem.empty() && (verifications.empty() || verifications.back().ok); }
  bool proven() const;  // a restore into scratch (level 2) has succeeded and nothing failed since
};

class Repository {
 public:
  explicit Repository(fs::path directory, std::string kind = "full")
      : directory_(std::move(directory)), kind_(std::move(kind)) {}
  const fs::path& directory() const { return directory_; }

  // Oldest first, damaged ones included.
  std::vector<Entry> list() const;
  // "latest" ("latest-base"), an id, or a path (also …/latest). Throws Error(NoInput) naming what there is.
  Entry resolve(const std::string& input) const;
  static Entry read(const fs::path& directory);

  // Signature, id and chain of one entry; needs the keyring. Throws Error(Damaged).
  static void requireAuthentic(const Entry& entry, const crypto::Keyring& keyring);

  // Error(Busy) naming the holder.
  FileLock lock() const;
  fs::path beginTemporary(const std::string& id) const;  // <kind>/.tmp-<id>
  void publish(const fs::path& temporary, const std::string& id) const;
  void removeLeftovers() const;  // .tmp-* and .trash-*, while holding the lock
  void remove(const Entry& entry) const;
  void recordVerification(const std::string& id, const Verification& verification) const;

 private:
  std::vector<Verification> verificationsOf(const std::string& id) const;
  void pointLatestAt(const std::string& id) const;
  fs::path folder() const { return directory_ / kind_; }
  std::string link() const { return kind_ == "full" ? "latest" : "latest-" + kind_; }
  fs::path directory_;
  std::string kind_;
};

// When the newest readable backup below `directory` was finished; nullopt when there is none.
std::optional<Micros> newestBackup(const fs::path& directory);

}  // namespace aragora::backup
