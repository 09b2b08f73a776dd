// The audit log: an HMAC-SHA-256 chain, each entry written in the transaction of the action it records. An action whose
// entry cannot be written fails with its transaction.
#pragma once

#include "common/base/clock.h"
#include "common/crypto/keyring.h"
#include "common/database/database.h"

namespace aragora::audit {

struct Entry {
  std::string actor;   // "user:…", "cli:root", "address:…"
  std::string action;  // "debate.cancel"
  std::string object;  // "debate:01H…"
  std::string result = "success";
  std::string ip_address;
  std::string request_id;
  json::object details;
};

// Call inside a write transaction, last: the log takes one writer at a time until the transaction ends.
void append(database::Connection& connection, const crypto::Keyring& keyring, const Entry& entry);
void append(database::Connection& connection, const crypto::Keyring& keyring, const std::vector<Entry>& entries);

struct ChainResult {
  std::int64_t entries = 0;
  std::optional<std::int64_t> first_bad;  // seq
  std::string reason;
};
// Walks the whole chain. Entries sealed under a key that the ring lacks cannot be checked: Error(CouldNotVerify).
ChainResult verifyChain(database::Connection& connection, const crypto::Keyring& keyring);

}  // namespace aragora::audit
