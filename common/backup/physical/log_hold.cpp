#include "common/backup/physical/log_hold.h"

#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::backup {

LogHold::LogHold(const database::Target& target, int server_version) {
  try {
    // It says nothing until the copy has ended, however long that takes.
    const std::string settings = server_version >= 140000 ? "-c idle_session_timeout=0" : "";
    connection_ = std::make_unique<database::postgres::ReplicationConnection>(target, settings);
    connection_->row(fmt::format("CREATE_REPLICATION_SLOT {} TEMPORARY PHYSICAL RESERVE_WAL",
                                 database::quoteIdentifier("aragora_base_" + lower(newUlid()))));
  } catch (const Error& error) {
    problem_ = error.what();
    connection_.reset();
    log::warning("the server is not made to keep its log for the copy: {}; {}", problem_, hint());
  }
}

void LogHold::check() {
  if (!connection_ || connection_->alive()) return;
  throw Error(Code::Unreachable,
              "the server has let go of the log that the copy needs: more was written meanwhile than "
              "max_slot_wal_keep_size lets it keep, or the connection that held it was ended",
              "raise max_slot_wal_keep_size, or give --max-rate more, so that the copy takes less time");
}

std::string LogHold::hint() const {
  if (connection_) return {};
  return "raise max_replication_slots (and max_wal_senders) so that one is free for the time of the copy, or "
         "wal_keep_size so that the log stays for as long as it takes";
}

}  // namespace aragora::backup
