// `aragora restore`: everything is checked first, the data lands in a new file or database, is proved there, and then
// takes the target's place by rename; what was there before is kept as …pre-restore-<time>. Never overwrites.
#pragma once

#include "common/backup/landing.h"

namespace aragora::backup {

struct RestoreOptions {
  database::Target target;
  const crypto::Keyring* keyring = nullptr;
  std::optional<std::string> to;    // another file or database name; must not exist; nothing is swapped
  bool increments = false;          // SQLite: also what was saved after the full backup…
  std::optional<Micros> until;      // … up to this moment
  bool verify = false;              // run the live-data verification on the landed copy before the swap
  std::optional<Secret> redis_url;  // sessions in the backup that are not live go back there
  bool dry_run = false;
  Progress* progress = nullptr;
};

struct RestoreReport {
  std::string id;
  std::string landed;  // where the data is now
  std::string kept;    // where the old data is now, empty when there was none
  std::int64_t tables = 0;
  std::int64_t rows = 0;
  std::size_t increments = 0;         // applied
  Micros as_of = 0;                   // the moment that the data is of
  std::size_t sessions = 0;           // put back into Redis
  std::vector<std::string> verified;  // what --verify found to hold, a line each
  std::vector<std::string> warnings;  // … and what does not hold, but says nothing against the data
  double seconds = 0;
  std::vector<std::string> plan;  // of a dry run
};

RestoreReport restoreBackup(const Entry& entry, const RestoreOptions& options);

}  // namespace aragora::backup
