// The chain of a debate's events: each event's hash is over its fields and the hash before it, 64 zeros before the
// first. It is an HMAC-SHA-256 under a key that the database does not hold; `key_id` says which. Events of the first
// version have no key (plain SHA-256): their chains are sealed once, so that they cannot be made anew either.
#pragma once

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/crypto/keyring.h"
#include "common/database/connection.h"

namespace aragora::store {

// An event as it is stored.
struct ChainedEvent {
  std::string debate_id;
  std::int64_t seq = 0;
  std::string type;
  std::int64_t round = 0;
  std::string agent;
  Micros at = 0;
  std::string payload;
  std::string prev_hash;
  std::string key_id;  // empty: without a key
  std::string hash;
};
constexpr std::string_view kChainedColumns = "debate_id, seq, type, round, agent, at, payload, prev_hash, key_id, hash";
ChainedEvent toChained(const database::Row& row);

const std::string& chainStart();
// Over everything but `hash`. `key` is the one that key_id names, empty for none.
std::string eventHash(const ChainedEvent& event, const std::string& key);

// Walks chains, one debate after the other. Without the keys, chains under a key are only followed.
class ChainWalk {
 public:
  explicit ChainWalk(const crypto::Keyring* keyring) : keyring_(keyring) {}
  // Throws Error(Damaged) naming the debate and the event.
  void take(const ChainedEvent& event);
  // Why some hashes could not be looked at.
  const std::optional<Error>& unverified() const { return unverified_; }
  // Of the event that was taken last.
  const ChainedEvent& head() const { return head_; }

 private:
  std::optional<std::string> key(const std::string& id);
  const crypto::Keyring* keyring_;
  std::map<std::string, std::optional<std::string>> keys_;
  std::optional<Error> unverified_;
  ChainedEvent head_;
};

// «key id.hex» over the debate and its last event.
std::string chainSeal(const crypto::Keyring& keyring, const ChainedEvent& head);
// nullopt: the seal's key is not in the ring.
std::optional<bool> sealHolds(const crypto::Keyring& keyring, std::string_view seal, const ChainedEvent& head);
// Seals up to `limit` chains that end without a key, inside a write transaction; answers how many.
std::int64_t sealChains(database::Connection& connection, const crypto::Keyring& keyring, std::int64_t limit);
// The setting and the audit action that say that all of them are sealed.
constexpr std::string_view kChainsSealed = "event_chains_sealed";
constexpr std::string_view kSealAction = "events.seal";

}  // namespace aragora::store
