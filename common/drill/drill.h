// A disaster recovery drill: a backup is restored into scratch, compared, verified, a daemon is started on it and used,
// and what happened is written down with the time that it took and the data that would have been lost. A step that
// could not be run is a failure, never left out.
#pragma once

#include "common/backup/repository.h"
#include "common/database/connection.h"
#include "common/drill/way.h"

namespace aragora::drill {

struct Options {
  storage::Place directory;  // of the backups
  database::Target live;
  Secret encryption_key;  // for the daemon that is started
  const crypto::Keyring* keyring = nullptr;
  Way way = Way::Logical;             // Physical: the newest base backup and the whole log
  std::optional<std::string> backup;  // an id; the newest good one otherwise
  bool random = false;                // any good one
  fs::path scratch;                   // below it; empty: scratchDirectory()
  std::chrono::seconds rto{3600};
  std::chrono::seconds rpo{300};
  std::string tool_version;
  Progress* progress = nullptr;
};

struct Step {
  std::string name;
  enum class Outcome { Done, Failed, NotRun } outcome = Outcome::NotRun;
  double seconds = 0;
  std::string detail;  // what was seen, or why it failed
};

// A box of the checklist's "Disaster Recovery Drills", ticked by what happened.
struct Box {
  std::string text;
  bool ticked = false;
};

struct Evidence {
  std::string id;
  Micros started_at = 0;
  std::string host;
  std::string tool_version;
  database::Engine engine = database::Engine::Sqlite;
  Way way = Way::Logical;
  std::string backup;
  std::string place;  // where it was read from
  std::uint64_t backup_bytes = 0;
  // What a recovery of another size is predicted from: the backup alone, and the log (or increments) after it.
  double unpack_seconds = 0;
  double replay_seconds = 0;
  std::uint64_t log_bytes = 0;
  // Of a physical drill: the timeline that was followed, and how far. 0: none was.
  std::uint32_t timeline = 0;
  std::uint64_t reached = 0;
  std::vector<Step> steps;
  std::vector<Box> boxes;
  std::vector<std::string> warnings;  // less came back than backups before had
  bool history_lost = false;          // of the debates or their events nothing did
  double rto_seconds = 0;  // from the first byte restored to a daemon that is ready; meaningless unless `recovered`
  double rpo_seconds = 0;  // age of what would have come back, at the start of the drill
  bool recovered = false;
  std::chrono::seconds rto_objective{0};
  std::chrono::seconds rpo_objective{0};

  bool rtoMet() const { return recovered && rto_seconds < static_cast<double>(rto_objective.count()); }
  bool rpoMet() const { return recovered && rpo_seconds < static_cast<double>(rpo_objective.count()); }
  bool passed() const;
};

// Always answers, whatever goes wrong, but for a signal: Error(Interrupted). Scratch is always removed.
Evidence runDrill(const Options& options);

}  // namespace aragora::drill
