// What whoever saves continuously knows, for other processes: DIR/saving.json, one block that is laid out beforehand
// and written over in place, so that a disk which is full does not keep the failure secret. While its writer lives it
// holds a lock on it. Not signed: it decides nothing but what is said. One writer; readers at any time, they take no
// lock.
#pragma once

#include "common/base/clock.h"
#include "common/base/file.h"

namespace aragora::backup {

// How the files of a SQLite database looked: as long as they look the same, nothing was committed. The WAL counts only
// while it holds something.
struct DatabaseFiles {
  std::uint64_t inode = 0;
  std::int64_t written_ns = 0;
  std::int64_t wal_written_ns = 0;

  Micros newest() const { return std::max(written_ns, wal_written_ns) / 1000; }
};
// nullopt when there is no such file.
std::optional<DatabaseFiles> lookAtDatabaseFiles(const fs::path& database);
// Copying the WAL into the database removes it and says nothing about commits.
bool changedSince(const DatabaseFiles& seen, const DatabaseFiles& now);

struct SavingStatus {
  Micros at = 0;             // of the last round
  Micros saved_through = 0;  // of SQLite: everything that was committed until then is in a backup or an increment
  DatabaseFiles seen;        // how the database looked then
  std::string full;          // the newest increment belongs to it
  std::uint64_t increment = 0;
  std::int64_t interval_seconds = 0;
  std::int64_t failures = 0;  // rounds in a row
  Micros failing_since = 0;
  std::string problem;  // of the last round, empty when it went well
  bool alive = false;   // somebody holds the file now
};

class SavingNote {
 public:
  // Does nothing when another process holds it. A failure to write is logged once: it must not stop the saving.
  explicit SavingNote(const fs::path& directory) : path_(directory / "saving.json") {}
  void write(const SavingStatus& status);

 private:
  bool open();
  fs::path path_;
  Fd fd_;
  bool told_ = false;
};

// nullopt when nobody ever saved continuously into `directory`.
std::optional<SavingStatus> savingStatus(const fs::path& directory);

}  // namespace aragora::backup
