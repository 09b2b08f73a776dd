// The place of backups: <kind>/<UTC>-<ulid>/ (one object looks at one kind: full, base, configuration or artifacts),
// verified/<id>.json (what verification found, signed), pinned/<id> (why it is kept whatever its age). In the local one
// also `latest` (`latest-base` …: links to the newest, where there are none files with its name) and .lock; there a
// backup becomes visible by one rename, and names that start with a dot are unfinished or being removed. Elsewhere the
// manifest is written last and removed first.
#pragma once

#include <optional>

#include "common/backup/manifest.h"
#include "common/storage/place.h"

namespace aragora::backup {

struct Verification {
  int level = 0;
  bool ok = false;
  Micros at = 0;
  std::string message;
};

struct Entry {
  std::string id;
  storage::Place directory;
  std::optional<Manifest> manifest;  // absent when it cannot be read; see `problem`
  std::string manifest_sha256;
  std::string problem;
  std::vector<Verification> verifications;  // oldest first; those that this deployment signed
  std::string disbelieved;                  // why what lies there as such is not believed; empty when it is
  std::optional<std::string> pinned;        // why

  bool good() const { return manifest && problem.empty() && (verifications.empty() || verifications.back().ok); }
  bool proven() const;  // a restore into scratch (level 2) has succeeded and nothing failed since
};

class Repository {
 public:
  // Without a keyring nothing is known of verifications.
  Repository(storage::Place directory, const crypto::Keyring* keyring, Kind kind = Kind::Full)
      : directory_(std::move(directory)), keyring_(keyring), kind_(kind) {}
  const storage::Place& directory() const { return directory_; }

  Kind kind() const { return kind_; }
  // In the order in which they were made (inOrder), damaged ones included.
  std::vector<Entry> list() const;
  // "latest" ("latest-base"), an id, or a path (also …/latest). Throws Error(NoInput) naming what there is.
  Entry resolve(const std::string& input) const;
  static Entry read(const storage::Place& directory);

  // Signature, id and chain of one entry; needs the keyring. Throws Error(Damaged).
  static void requireAuthentic(const Entry& entry, const crypto::Keyring& keyring);

  // From here on only of a local place, but for remove(). Error(Busy) naming the holder.
  FileLock lock(std::chrono::seconds wait) const;
  fs::path beginTemporary(const std::string& id) const;  // <kind>/.tmp-<id>
  void publish(const fs::path& temporary, const std::string& id) const;
  void removeLeftovers() const;  // .tmp-* and .trash-*, while holding the lock
  void remove(const Entry& entry) const;
  void recordVerification(const Entry& entry, const Verification& verification) const;
  void pin(const Entry& entry, const std::string& reason) const;
  void unpin(const Entry& entry) const;

 private:
  void addWhatIsKnown(Entry& entry) const;
  void addVerifications(Entry& entry) const;
  void pointLatestAt(const std::string& id) const;
  storage::Place folder() const { return directory_ / name(kind_); }
  std::string link() const { return kind_ == Kind::Full ? "latest" : "latest-" + name(kind_); }
  storage::Place directory_;
  const crypto::Keyring* keyring_;
  Kind kind_;
};

// Those whose signature does not hold are no good ones from now on: for what is decided by the list alone, where
// something planted must not stand for a backup.
std::vector<Entry> authentic(std::vector<Entry> entries, const crypto::Keyring& keyring);
// Oldest first by sequence, whatever clock was on when they were made; of older versions' manifests by their chain and
// then by the time in the name. What cannot be read goes by its name.
std::vector<Entry> inOrder(std::vector<Entry> entries);
// Of the next one: above every one of these.
std::int64_t nextSequence(const std::vector<Entry>& entries, Micros now);

}  // namespace aragora::backup
