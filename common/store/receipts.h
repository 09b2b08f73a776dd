// The receipts of debates that have ended, and the log over them (common/receipts). A receipt is written in the
// transaction that ends its debate; debates that ended without one (under an earlier version) get theirs later. The row
// of the log is locked by whoever appends, so that indexes have no gap across instances. The key that signs is made at
// first use and kept in the database, its seed sealed with the encryption key: all instances sign with one key, backups
// have it, and the database alone signs nothing. Thread-safe.
#pragma once

#include <functional>

#include "common/crypto/keyring.h"
#include "common/database/database.h"
#include "common/receipts/bundle.h"

namespace aragora::store {

struct Receipt {
  std::int64_t index = 0;
  std::string debate_id;
  std::string body;  // canonical JSON
  std::string leaf_hash;
  std::string key_id;
  std::string signature;  // base 64
  Micros issued_at = 0;
};

struct ReceiptKey {
  std::int64_t number = 0;
  receipts::PublicKey key;  // named by the log's origin
  std::string sealed_seed;
  Micros created_at = 0;
  json::value rotation;  // as a bundle has it; null for the first

  std::string context() const;  // what its seed is sealed for
};

class Receipts {
 public:
  Receipts(database::Database& database, const crypto::Keyring& keyring) : database_(database), keyring_(keyring) {}

  // Inside a write transaction. The log and its first key, unless they are there.
  static void found(database::Connection& connection, const crypto::Keyring& keyring);
  // Inside the write transaction that ended the debate, or a later one. Does nothing for one that has its receipt.
  static void issue(database::Connection& connection, const crypto::Keyring& keyring, const std::string& debate_id);
  // Those that ended without one, the earliest first. One that cannot be written is told of and passed by.
  // `after_each` of them; answers how many were written.
  std::int64_t catchUp(const std::function<void()>& after_each = [] {});

  std::optional<Receipt> ofDebate(const std::string& debate_id);
  std::optional<Receipt> at(std::int64_t index);
  std::int64_t size();

  // What /api/receipts/… answer. `size` of the tree, or as large as it is. Error(Validation) for a size or an index
  // that it has not, Error(NotFound) before the log was begun. A log without receipts has a checkpoint, of size 0.
  json::object bundle(const Receipt& receipt, std::optional<std::int64_t> size = {});
  json::object checkpoint(std::optional<std::int64_t> size = {});
  json::object inclusion(std::int64_t index, std::optional<std::int64_t> size = {});
  json::object consistency(std::int64_t from, std::optional<std::int64_t> to = {});
  json::object keys();

  // A new key, signed by the one in use, which signs from then on; all instances use it at once. Error(Conflict) before
  // the log was begun.
  ReceiptKey rotate();

 private:
  void issueLate(const std::string& debate_id);
  database::Database& database_;
  const crypto::Keyring& keyring_;
};

// For whoever verifies the log as it is stored.
std::string receiptOrigin(database::Connection& connection);            // empty: not begun
std::vector<ReceiptKey> receiptKeys(database::Connection& connection);  // in their order
constexpr std::string_view kReceiptColumns = "log_index, debate_id, body, leaf_hash, key_id, signature, issued_at";
Receipt toReceipt(const database::Row& row);
// Of a debate that is there. nullopt: there is none.
std::optional<receipts::DebateRecord> receiptMaterial(database::Connection& connection, const std::string& debate_id);
// Whether the database is of a version that has receipts.
bool hasReceipts(database::Connection& connection);
// Seals the seeds anew that are not under the active key; answers how many.
std::int64_t resealReceiptKeys(database::Database& database, const crypto::Keyring& keyring);

}  // namespace aragora::store
