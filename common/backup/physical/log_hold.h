// Has the server keep its log while a cluster is copied: pg_basebackup fetches the log at the end, and holds nothing
// until then, so that a busy server has recycled it. A temporary physical replication slot on a connection of our own
// keeps it (PostgreSQL documentation, "Streaming Replication Protocol", CREATE_REPLICATION_SLOT); the server drops it
// with the connection, also when this process is killed. One thread.
#pragma once

#include <memory>

#include "common/database/postgres/replication_connection.h"

namespace aragora::backup {

class LogHold {
 public:
  // Never fails: without a free slot the copy may still succeed, and why there is none is warned about, and said again
  // if it does not. `server_version` as libpq gives it.
  LogHold(const database::Target& target, int server_version);
  // Throws Error(Unreachable) once the server has let go of the log because of max_slot_wal_keep_size: the copy cannot
  // be completed any more.
  void check();
  // What to add to the failure of a copy, empty when the log was kept.
  std::string hint() const;

 private:
  std::unique_ptr<database::postgres::ReplicationConnection> connection_;
  std::string problem_;  // why nothing is held
};

}  // namespace aragora::backup
