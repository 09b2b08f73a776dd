// What in the database needs which encryption key, and putting under the active one what can be put: a key may leave
// the previous ones when nothing names it any more. Thread-safe.
#pragma once

#include <map>

#include "common/crypto/keyring.h"
#include "common/database/database.h"

namespace aragora::accounts {

// By what needs it, and by key id: how many rows. What is not there is left out.
using KeyUse = std::map<std::string, std::map<std::string, std::int64_t>>;
KeyUse keyUse(database::Database& database);

// Seals second factors for the active key, each row in a statement of its own that changes only what was read: beside
// a running daemon, and as often as one likes. How many there were. Error(Damaged) for one that no key opens.
std::int64_t resealSecondFactors(database::Database& database, const crypto::Keyring& keyring);

}  // namespace aragora::accounts
