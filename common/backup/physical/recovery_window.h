// Between which moments a recovery is possible now, and whether what was promised of the log is there. Reads files
// only.
#pragma once

#include "common/backup/physical/wal_archive.h"
#include "common/backup/repository.h"

namespace aragora::backup {

// One way that the database went; more than one after a recovery took its place or a standby was promoted.
struct BranchState {
  std::uint32_t timeline = 0;
  std::uint32_t parent = 0;  // 0: none
  Lsn left_parent_at = 0;
  Lsn end = 0;
  std::optional<Micros> through;  // nullopt when no receiver has said so
  std::string base;               // the oldest one that leads to its end, empty when none does
};

struct RecoveryWindow {
  std::string base;  // the oldest that leads to the end
  Micros from = 0;
  std::optional<Micros> through;  // nullopt when no receiver has said so
  std::uint32_t timeline = 0;     // that `end` is on
  Lsn end = 0;
  bool gap = false;             // no base backup leads through the log to its end
  std::optional<Lsn> promised;  // what was confirmed of that timeline
  std::string missing;          // of what was confirmed; empty: all of it is there
  std::vector<BranchState> branches;
  std::vector<WalListing::Interruption> interruptions;
};

// Good base backups in the order of their positions, whatever the clock said when they were made.
std::vector<Entry> goodBases(const storage::Place& directory, const crypto::Keyring& keyring);
// A base backup holds the whole segments of its own range; the log has to go on behind them.
Lsn logNeededFrom(const WalListing& listing, const PhysicalRecord& base);

// nullopt without a good base backup.
std::optional<RecoveryWindow> recoveryWindow(const storage::Place& directory, const crypto::Keyring& keyring);

}  // namespace aragora::backup
