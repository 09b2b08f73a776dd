// Point-in-time recovery of a PostgreSQL cluster: a base backup is unpacked into a new directory, the received log is
// replayed up to the target in a private server, the outcome is looked at. Nothing that exists is touched.
#pragma once

#include "common/backup/physical/wal_archive.h"
#include "common/backup/repository.h"
#include "common/database/connection.h"

namespace aragora::backup {

struct RecoveryTarget {
  enum class Kind { Latest, Time, Name, Position, Xid, Consistent };
  Kind kind = Kind::Latest;
  std::string value;  // a time in RFC 3339, a name, 16/B374D848, a number
};

struct RecoverOptions {
  storage::Place directory;  // of the backups
  database::Target live;
  const crypto::Keyring* keyring = nullptr;
  RecoveryTarget target;
  std::optional<std::string> base;  // an id; the newest that fits otherwise
  fs::path to;                      // must not exist
  bool verify = false;
  bool dry_run = false;
  std::chrono::seconds deadline = std::chrono::hours(24);
};

struct RecoverReport {
  std::string base;
  std::string to;
  std::size_t tablespaces = 0;  // each in <to>.tablespaces/<oid>
  std::string target;
  Lsn reached = 0;
  std::size_t log_files = 0;          // taken from the archive
  std::optional<Micros> last_commit;  // of the newest replayed transaction
  std::vector<std::string> verified;
  double unpack_seconds = 0;
  double replay_seconds = 0;
  double seconds = 0;
  std::vector<std::string> plan;  // of a dry run
};

// Throws Error(NoInput) naming the recoverable window when the target lies outside of it.
RecoverReport recoverCluster(const RecoverOptions& options);

// Between which moments a recovery is possible; nullopt without a good base backup.
struct RecoveryWindow {
  std::string base;  // the oldest
  Micros from = 0;
  std::optional<Micros> through;  // nullopt when no receiver has said so
  Lsn end = 0;
  bool gap = false;
};
std::optional<RecoveryWindow> recoveryWindow(const storage::Place& directory, const crypto::Keyring& keyring);

}  // namespace aragora::backup
