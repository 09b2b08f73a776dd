// Receives PostgreSQL's write-ahead log over the streaming replication protocol (PostgreSQL documentation,
// chapter 55.4) into a WalArchive. A position is confirmed to the server only after it was fsynced here, so a server
// that waits for us (synchronous_standby_names = 'aragora_wal') loses nothing; one that does not loses what was on its
// way.
//
// Survives the server's restarts (it reconnects, at most every 30 s), its own (it goes on at the start of the open
// segment) and changes of timeline. A log that the server no longer has is a gap: it is said, recorded, and a new base
// backup is asked for.
#pragma once

#include "common/backup/physical/wal_archive.h"
#include "common/base/interrupt.h"
#include "common/database/connection.h"

namespace aragora::backup {

struct ReceiverEvents {
  std::function<void(const WalStatus&)> status;   // at least once a second while it works
  std::function<void(const std::string&)> gap;    // recovery cannot pass this point: make a base backup now
  std::function<void(const std::string&)> retry;  // the server is not there; tried again
};

struct ReceiverOptions {
  database::Target target;  // the user needs the REPLICATION privilege
  std::string slot = "aragora";
  ArtifactOptions artifact;
  ReceiverEvents events;
};

// Runs until `stop` is turned, and ends at once then: everything received is on disk and confirmed. Throws
// Error(Permission | Config | Conflict) for what trying again does not mend, Error(Io) when the archive cannot be
// written.
void receiveWal(WalArchive& archive, const ReceiverOptions& options, const interrupt::Switch& stop);

}  // namespace aragora::backup
