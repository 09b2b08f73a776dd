// Private to common/store: the rows of the receipts' log. Everything runs inside a transaction of the caller's.
#pragma once

#include "common/store/receipts.h"

namespace aragora::store {

// Databases of other versions are asked, too.
bool hasTable(database::Connection& connection, const std::string& name);

struct LogHead {
  std::string origin;
  std::int64_t size = 0;
};
// Nobody else appends until the transaction ends.
LogHead lockLog(database::Connection& connection);
// nullopt before it was begun.
std::optional<LogHead> readLog(database::Connection& connection);

// Of what is stored; Error(Damaged) naming what is not there. It must not outlive the connection.
receipts::NodeAt nodesIn(database::Connection& connection);

struct Signer {
  std::int64_t number = 0;
  receipts::PublicKey key;
  Secret seed;
};
// The key in use.
Signer signerOf(database::Connection& connection, const crypto::Keyring& keyring);

}  // namespace aragora::store
