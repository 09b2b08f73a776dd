// `aragora debate replay`: the rules of debates are the daemon's, and the database is enough to go by them again. With
// server.h the only header of daemon/ that cli/ includes. Reads only, asks nobody, needs no daemon.
#pragma once

#include "common/crypto/keyring.h"
#include "common/database/database.h"

namespace aragora::daemon {

struct Replayed {
  std::int64_t questions = 0;  // that were made anew and are what was asked
  std::int64_t events = 0;     // that came out as they are recorded
  std::int64_t outside = 0;    // of the audience, or of what ended it before its time
  bool whole = false;          // it has ended, and was replayed to its end
  std::vector<std::string> differences;
};

// Its chain is walked first: Error(Damaged) for one that does not hold, Error(CouldNotVerify) without its key,
// Error(NotFound).
Replayed replayDebate(database::Database& database, const crypto::Keyring& keyring, const std::string& id);

}  // namespace aragora::daemon
