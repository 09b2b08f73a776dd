// Puts a backup's database into a new place and proves it there, before anything existing is touched. Shared by restore
// (the place becomes the target) and verify (the place is scratch and goes away).
#pragma once

#include "common/backup/database_properties.h"
#include "common/backup/dump_loader.h"
#include "common/backup/increments.h"
#include "common/base/scratch.h"
#include "common/database/connection.h"

namespace aragora::backup {

struct Comparison {
  std::int64_t tables = 0;
  std::int64_t rows = 0;
  std::vector<std::string> skipped;  // what is no data and could not be restored, each with its reason
};

// SQLite: decrypts into `file` (created exclusively, 0600), applies `increments`, checks pages, foreign keys and row
// counts (after increments: the digest of the whole database instead of the counts).
Comparison landSqlite(const Entry& entry, const crypto::Keyring& keyring, const fs::path& file,
                      const std::vector<Increment>& increments = {}, Progress* progress = nullptr);
// PostgreSQL: streams into pg_restore for the database that `target` names (it must be empty), compares row counts and
// content digests, and gives it the settings that the source had; they decide what is seen of it. `AsDumped`: owners
// and privileges too, or Error(Conflict). Error(CouldNotVerify) for what is no fault of the backup's.
Comparison landPostgres(const Entry& entry, const crypto::Keyring& keyring, const database::Target& target,
                        Ownership ownership = Ownership::OfTheLoader, Progress* progress = nullptr);

// A database of its own on the server of `target`; dropped on destruction unless kept. What runs that were killed left
// behind is dropped first: named by us, and marked by a run on this machine that does not live any more, or made over
// an hour ago and used by nobody.
class ScratchDatabase {
 public:
  // Encoding and locale as `like` has them.
  ScratchDatabase(const database::Target& target, std::string name,
                  const std::optional<DatabaseProperties>& like = std::nullopt);
  ScratchDatabase(const ScratchDatabase&) = delete;
  ScratchDatabase& operator=(const ScratchDatabase&) = delete;
  ~ScratchDatabase();
  const database::Target& target() const { return scratch_; }
  void keep() { kept_ = true; }
  // Nobody may be connected to it.
  void rename(const std::string& name);

 private:
  database::Target admin_;
  database::Target scratch_;
  std::string name_;
  ScratchMark mark_;
  std::unique_ptr<database::Connection> sign_;  // its application_name tells other hosts that this run lives
  interrupt::Obligation obligation_;
  bool kept_ = false;
};

}  // namespace aragora::backup
