// Point-in-time recovery of a PostgreSQL cluster: a plan is made from what is there, a base backup is unpacked into a
// new directory, the received log is replayed up to the target in a sealed server, the outcome is held against what was
// promised. Nothing that exists is touched. While it is under way the directory is called <to>.unfinished; it gets its
// name when it is complete. A finished recovery is never removed, whatever a look at it finds.
#pragma once

#include "common/backup/physical/recovery_plan.h"

namespace aragora::backup {

struct RecoverOptions {
  storage::Place directory;  // of the backups
  database::Target live;
  const crypto::Keyring* keyring = nullptr;
  RecoveryTarget target;
  std::optional<std::uint32_t> timeline;  // found out otherwise
  std::optional<std::string> base;        // an id; the newest that fits otherwise
  fs::path to;                            // must not exist
  bool verify = false;
  bool dry_run = false;
  bool accept_loss = false;    // also when what was confirmed cannot all be recovered
  bool ask_server = false;     // whether the live server knows of more, should it answer
  std::uint64_t most_log = 0;  // replay at most so many bytes of log behind the base; 0: all
  std::chrono::seconds deadline = std::chrono::hours(24);
  Progress* progress = nullptr;
};

struct RecoverReport {
  std::string base;
  std::string to;
  std::size_t tablespaces = 0;  // each in <to>.tablespaces/<oid>
  std::string target;
  std::uint32_t timeline = 0;  // that was followed
  Lsn reached = 0;
  std::optional<Lsn> promised;        // what the receiver had confirmed of that timeline
  std::optional<Micros> covered;      // without commits a log loses nothing either: of the server's clock
  bool whole_log = true;              // false: `most_log` ended it
  std::size_t log_files = 0;          // taken from the archive
  std::uint64_t log_bytes = 0;        // replayed behind the base
  std::optional<Micros> last_commit;  // of the newest replayed transaction
  std::vector<std::string> verified;
  std::vector<std::string> warnings;  // of --verify: what does not hold and does not speak against the data
  std::string against;                // what speaks against the data, empty when nothing does
  std::vector<std::string> notes;     // what should be known before it is used
  std::vector<std::string> losses;    // accepted
  std::uint64_t unpacked_bytes = 0;
  double unpack_seconds = 0;
  double replay_seconds = 0;
  double seconds = 0;
  std::vector<std::string> plan;  // of a dry run
};

// Throws Error(NoInput) naming the recoverable window when the target lies outside of it, Error(Damaged) when what was
// confirmed is not there or could not be replayed.
RecoverReport recoverCluster(const RecoverOptions& options);

}  // namespace aragora::backup
