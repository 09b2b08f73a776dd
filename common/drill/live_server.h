// What the live database is asked for the state of recovery: over one connection, within two seconds altogether. What
// could not be asked is part of the answer. Stateless.
#pragma once

#include "common/backup/physical/wal_status.h"
#include "common/backup/told_heads.h"

namespace aragora::drill {

// What the live PostgreSQL says of the slot that keeps log for the receiver.
struct ServerSide {
  std::string failure;  // it was not reached: why
  bool has_slot = false;
  backup::Lsn kept_from = 0;  // the receiver has confirmed what is before
  backup::Lsn end = 0;        // written by the server
  backup::SlotState slot_state = backup::SlotState::Unknown;
  std::string wal_level;
};

struct LiveAnswers {
  backup::ToldHeads told;
  std::optional<ServerSide> server;  // of PostgreSQL
};

LiveAnswers askLive(const database::Target& live, const fs::path& backups, const std::string& slot,
                    const crypto::Keyring& keyring);

}  // namespace aragora::drill
