// Of each kind the last backup that was ever made in a local place, as the live database was told (PostgreSQL: a row of
// settings; SQLite: a signed file beside it, because a row would be a change to save). With it an old state of the
// whole place is noticed, its ledger included. Stateless.
#pragma once

#include "common/backup/kind.h"
#include "common/crypto/keyring.h"
#include "common/database/connection.h"
#include "common/storage/place.h"

namespace aragora::backup {

struct Head {  // the last one that was ever made, also when it was removed since
  std::string id;
  std::int64_t sequence = 0;
};

struct ToldHeads {
  std::map<Kind, Head> heads;
  // For people: why what was told is not known. Then nothing is said by a kind that is not there, and the ledger alone
  // speaks: who shows a result says so.
  std::string failure;
  std::optional<Head> of(Kind kind) const;
};

// All kinds at once, over one connection and within two seconds altogether. Throws only Error(Interrupted).
ToldHeads toldHeads(const database::Target& target, const storage::Place& place, const crypto::Keyring& keyring);
// The same over a connection to PostgreSQL that is there, with its deadlines.
ToldHeads toldHeads(database::Connection& connection, const storage::Place& place, const crypto::Keyring& keyring);

// Never fails a backup that is good: what cannot be told is logged.
void tellHead(const database::Target& target, const storage::Place& place, Kind kind, const Head& head,
              const crypto::Keyring& keyring);

// Signs what was told with the active key, where another one of the ring did. How many there were.
std::size_t signToldAnew(const database::Target& target, const crypto::Keyring& keyring);
// By the key that signed it; what no key at hand did is of «?».
std::map<std::string, std::int64_t> toldBy(const database::Target& target, const crypto::Keyring& keyring);

}  // namespace aragora::backup
