// The verification ladder. Level 0: signature, sizes and digests of the stored files. 1: everything decrypts,
// decompresses and has the structure of a dump. 2: restored into scratch, counts and digests compared. What was found
// is recorded beside the backup.
#pragma once

#include "common/backup/landing.h"

namespace aragora::backup {

struct VerifyOptions {
  int level = 2;
  const crypto::Keyring* keyring = nullptr;
  // Where scratch goes: the server (PostgreSQL) or a directory (SQLite and clusters; empty: scratchDirectory()).
  std::optional<database::Target> postgres;
  fs::path scratch_directory;
  // Of a base backup: how much of the log behind it is replayed, too. By default what takes a few minutes.
  std::uint64_t most_log = 4ULL << 30;
  Progress* progress = nullptr;
};

// How far the log behind a base backup was replayed into scratch, and along which timeline.
struct Replayed {
  std::uint32_t timeline = 0;
  Lsn through = 0;
  bool whole = false;  // to its end
};

struct VerifyReport {
  std::string id;
  int level = 0;
  std::string message;
  // Of a backup that holds: what is wrong with the log or the increments after it, empty when nothing is.
  std::string log_problem;
  std::optional<Replayed> replayed;
  std::vector<std::string> warnings;  // there is suddenly less in it than in those before
  double seconds = 0;
};

// Throws Error(Damaged) for what does not hold, Error(CouldNotVerify | Unreachable) when the level could not be
// reached.
VerifyReport verifyBackup(const Entry& entry, const VerifyOptions& options);

}  // namespace aragora::backup
