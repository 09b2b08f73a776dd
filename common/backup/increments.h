// Page increments of a SQLite database: what changed since the last one, so that little is lost between two full
// backups. Kept in increments/<id of the full backup>/, each a sealed file with a signed record; the records form a
// chain of database digests that begins with the full backup's, so that one which is missing, exchanged or reordered is
// found. The file holds, for each changed page, its number (8 bytes, big-endian, from 0) and its bytes.
#pragma once

#include "common/backup/artifact.h"
#include "common/backup/repository.h"
#include "common/database/connection.h"

namespace aragora::database::sqlite {
class PinnedSnapshot;
}

namespace aragora::backup {

struct Increment {
  std::uint64_t number = 0;  // from 1
  Micros at = 0;             // of the snapshot
  std::uint32_t page_size = 0;
  std::uint64_t page_count = 0;  // of the database that it leads to
  std::uint64_t changed = 0;
  std::string previous_sha256;  // of the whole database before and after
  std::string database_sha256;
  // Of which deployment the database was, and after which restore of it (empty before the first one, and in records of
  // versions that did not say). The digests tell that a chain over a restore is whole.
  std::string instance_id;
  std::string epoch;
  audit::Head audit_head;  // when it began
  FileRecord file;
};

storage::Place incrementsDirectory(const Entry& full);
// When the newest increment was made, and where the audit log ended then; nullopt without any, or of a version that did
// not say. Error(Damaged) when the record does not hold.
std::optional<std::pair<Micros, audit::Head>> auditHeadOfIncrements(const Entry& full, const crypto::Keyring& keyring);
// Beside that directory: how many increments were made of it, signed, written after each.
std::string incrementsPromise(const std::string& full_id);
// In order, at most up to `until`. Throws Error(Damaged) for a record whose signature, number or chain does not hold,
// and when increments that were made are missing, unless all of those are later than `until`.
std::vector<Increment> incrementsOf(const Entry& full, const crypto::Keyring& keyring,
                                    std::optional<Micros> until = std::nullopt);
// When the newest was made, by its record alone; nullopt when there is none that holds.
std::optional<Micros> newestIncrement(const Entry& full, const crypto::Keyring& keyring);
// Applies them to the database of the full backup in `file`. Throws Error(Damaged) when the outcome does not have the
// digest that was recorded; the file is worthless then.
void applyIncrements(const Entry& full, const std::vector<Increment>& increments, const crypto::Keyring& keyring,
                     const fs::path& file, Progress* progress = nullptr);

// Makes the increments of one database, one at a time. It follows the path: another file there, as after a restore, is
// read as a whole, and what differs becomes an increment. Keeps 32 bytes a page; one owner.
class IncrementWriter {
 public:
  // Goes on after the full backup and its increments, which are read once for the digests of their pages.
  IncrementWriter(Entry full, const crypto::Keyring& keyring, ArtifactOptions how);
  // nullopt when nothing changed since the last one. Error(Busy) when no consistent moment came in time or the file was
  // exchanged meanwhile, Error(Conflict) for the database of another deployment.
  std::optional<Increment> write(const fs::path& database);
  // False when another process has written one since: a writer goes on from what it read itself.
  bool isNewest() const;
  const Entry& full() const { return full_; }
  std::uint64_t newest() const { return number_; }  // 0: none yet
  // Nothing was committed since the last write(), and the file is still the same.
  bool nothingNew(const fs::path& database) const;

 private:
  // Tells one file, and one state of it, from another.
  struct Stamp {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t size = 0;
    std::int64_t changed_ns = 0;
    bool sameFile(const Stamp& other) const { return device == other.device && inode == other.inode; }
    bool operator==(const Stamp& other) const = default;
  };
  static Stamp stampOf(const fs::path& file);
  void watch(const fs::path& database, const Stamp& stamp);
  Increment begin(const fs::path& database);
  std::vector<std::string> writeChanged(database::sqlite::PinnedSnapshot& snapshot, ArtifactWriter& writer,
                                        Increment& increment) const;
  void publish(Increment& increment, const fs::path& temporary) const;
  Entry full_;
  const crypto::Keyring& keyring_;
  ArtifactOptions how_;
  std::uint64_t number_ = 0;
  std::string last_sha256_;
  std::uint32_t page_size_ = 0;
  std::vector<std::string> pages_;               // SHA-256 each
  Stamp stamp_;                                  // of the file at the last increment
  std::unique_ptr<database::Connection> watch_;  // to that file; tells whether others have committed
  std::optional<std::int64_t> seen_;             // its data_version at the last increment
};

}  // namespace aragora::backup
