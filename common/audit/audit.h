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

// Where the log ends: what is written down elsewhere, so that a tail which is cut off is missed.
struct Head {
  std::int64_t entries = 0;
  std::string hash;
};
Head head(database::Connection& connection);  // of a read; zero entries and no hash for an empty log

// What somebody wrote down about the log at some time, out of reach of whoever writes to the database.
struct Witness {
  std::string source;  // for people: "backup 2026…"
  Micros at = 0;
  Head head;
};
// How the log contradicts the first of them that it does: entries are gone, or are not those that were there. What was
// written down before `accepted_at`, when an older state took the database's place, says nothing any more.
std::optional<std::string> contradiction(database::Connection& connection, const std::vector<Witness>& witnesses,
                                         Micros accepted_at);

struct Recorded {
  std::int64_t seq = 0;
  Micros at = 0;
  Entry entry;  // without its details' structure: their text
  std::string details;
  std::string hash;
};
struct Filter {
  std::string actor;   // each as it stands, or nothing
  std::string action;  // "debate." stands for all that begin with it
  std::string object;
  std::string result;
  std::optional<Micros> since;  // not before
  std::optional<Micros> until;  // not after
  std::int64_t before = 0;      // older than this entry; 0: from the newest
  std::int64_t limit = 100;
  std::int64_t offset = 0;
};
// Newest first.
std::vector<Recorded> entries(database::Database& database, const Filter& filter);
// How many there are, whatever the limit and the offset.
std::int64_t countEntries(database::Database& database, const Filter& filter);

struct ChainResult {
  std::int64_t entries = 0;
  std::optional<std::int64_t> first_bad;  // seq
  std::string reason;
};
// Walks the whole chain. Entries sealed under a key that the ring lacks cannot be checked: Error(CouldNotVerify).
ChainResult verifyChain(database::Connection& connection, const crypto::Keyring& keyring);

}  // namespace aragora::audit
