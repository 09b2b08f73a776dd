// What in the database needs which encryption key, and putting it under the active one. What is sealed is sealed anew.
// What was signed cannot be signed anew: the keys derived for that, which open nothing and sign no backup, are kept in
// the settings, sealed with the active key; with them chains are verified and API keys known when the key itself is
// gone. Any thread.
#pragma once

#include <map>

#include "common/crypto/keyring.h"
#include "common/database/database.h"

namespace aragora::store {

// By what needs it, and by key id: how many. What is not there is left out, and so is what a kept key is enough for.
using KeyUse = std::map<std::string, std::map<std::string, std::int64_t>>;
KeyUse keyUse(database::Connection& connection, const crypto::Keyring& keyring);
// What was signed under keys other than the active one and stays so, by what and key id.
KeyUse signedBefore(database::Connection& connection, const crypto::Keyring& keyring);

// The same ring, which knows the kept keys that it can open, too.
crypto::Keyring withKeptKeys(database::Connection& connection, const crypto::Keyring& keyring);

struct Resealed {
  std::int64_t second_factors = 0;
  std::int64_t kept_keys = 0;
  std::int64_t receipt_keys = 0;
};
// Each row in a statement of its own that changes only what was read: beside a running daemon, and as often as one
// likes. Error(Damaged) for a value that no key opens.
Resealed resealEverything(database::Database& database, const crypto::Keyring& keyring);

}  // namespace aragora::store
