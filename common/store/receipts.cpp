#include "common/store/receipts.h"

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/crypto/curve.h"
#include "common/crypto/hash.h"
#include "common/receipts/canonical.h"
#include "common/store/receipt_log.h"
#include "common/store/settings.h"
#include "common/store/states.h"

namespace aragora::store {

using database::Connection;

std::string ReceiptKey::context() const { return fmt::format("receipt_keys|seed|{}", number); }

namespace {
constexpr std::size_t kSaltBytes = 32;

void insertKey(Connection& connection, const crypto::Keyring& keyring, ReceiptKey& key, const std::string& seed) {
  key.sealed_seed = keyring.seal(seed, key.context());
  const auto* rotation = key.rotation.if_object();
  const auto part = [&](std::string_view name) {
    return rotation == nullptr ? database::Value{} : database::Value{jsonTextOr(*rotation, name, "")};
  };
  connection.query(
      "INSERT INTO receipt_keys (number, id, public_key, seed, created_at, statement, signed_by_previous, "
      "signed_by_next) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
      {key.number, key.key.id(), toBase64(key.key.bytes), key.sealed_seed, key.created_at,
       rotation == nullptr ? database::Value{} : database::Value{receipts::canonical(rotation->at("statement"))},
       part("signed_by_previous"), part("signed_by_next")});
}

// What is committed to can be guessed at as soon as its salt is known: one a debate, of its own.
std::string saltOf(Connection& connection, const std::string& debate_id) {
  const auto rows = connection.query("SELECT salt FROM receipt_salts WHERE debate_id = $1", {debate_id});
  if (!rows.empty()) return fromHex(rows[0].text(0)).value_or("");
  auto salt = crypto::randomBytes(kSaltBytes);
  connection.query("INSERT INTO receipt_salts (debate_id, salt) VALUES ($1, $2)", {debate_id, toHex(salt)});
  return salt;
}

receipts::Hash leafBefore(Connection& connection, std::int64_t index) {
  if (index == 0) return receipts::Hash(32, '\0');
  return nodesIn(connection)(0, index - 1);
}

void append(Connection& connection, const Receipt& receipt) {
  for (const auto& node : receipts::grow(receipt.index, *fromHex(receipt.leaf_hash), nodesIn(connection))) {
    if (node.level > 0)
      connection.query("INSERT INTO receipt_nodes (level, position, hash) VALUES ($1, $2, $3)",
                       {node.level, node.position, toHex(node.hash)});
  }
  connection.query(
      "INSERT INTO receipts (log_index, debate_id, body, leaf_hash, key_id, signature, issued_at) VALUES ($1, $2, $3, "
      "$4, $5, $6, $7)",
      {receipt.index, receipt.debate_id, receipt.body, receipt.leaf_hash, receipt.key_id, receipt.signature,
       receipt.issued_at});
  connection.query("UPDATE receipt_log SET size = $1 WHERE id = 1", {receipt.index + 1});
}
}  // namespace

void Receipts::found(Connection& connection, const crypto::Keyring& keyring) {
  // Read first: a standby has what the primary was told, and cannot be told anything.
  if (!receiptOrigin(connection).empty()) return;
  const auto instance = readSetting(connection, kInstanceId).value_or("");
  const auto origin =
      fmt::format("aragora/receipts/{}", lower(instance.empty() ? toHex(crypto::randomBytes(8)) : instance));
  if (connection.execute("INSERT INTO receipt_log (id, origin, size) VALUES (1, $1, 0) ON CONFLICT (id) DO NOTHING",
                         {origin}) == 0)
    return;  // of two first starts at once the other one made it
  const auto seed = crypto::randomBytes(32);
  ReceiptKey key;
  key.number = 1;
  key.key = {origin, crypto::ed25519PublicKey(seed)};
  key.created_at = nowMicros();
  insertKey(connection, keyring, key, seed);
}

void Receipts::issue(Connection& connection, const crypto::Keyring& keyring, const std::string& debate_id) {
  const auto debate = receiptMaterial(connection, debate_id);
  if (!debate) return;
  found(connection, keyring);
  const auto head = lockLog(connection);
  if (!connection.query("SELECT 1 FROM receipts WHERE debate_id = $1", {debate_id}).empty()) return;
  const auto signer = signerOf(connection, keyring);
  const receipts::LogPlace place{head.origin, head.size, leafBefore(connection, head.size)};
  const auto receipt = receipts::makeReceipt(*debate, place, signer.key.id(), saltOf(connection, debate_id),
                                             {std::string(kVersion), std::string(kCommit)});
  Receipt row;
  row.index = head.size;
  row.debate_id = debate_id;
  row.body = receipts::canonical(receipt);
  row.leaf_hash = toHex(receipts::leafHash(row.body));
  row.key_id = signer.key.id();
  row.signature = toBase64(crypto::ed25519Sign(signer.seed.reveal(), row.body));
  row.issued_at = nowMicros();
  append(connection, row);
}

std::int64_t Receipts::catchUp(const std::function<void()>& after_each) {
  constexpr std::int64_t kBatch = 5000;  // each batch is looked for among all debates
  std::int64_t written = 0;
  std::int64_t failed = 0;
  while (true) {
    const auto rows = database_.query(
        fmt::format("SELECT d.id FROM debates d LEFT JOIN receipts r ON r.debate_id = d.id WHERE d.status IN ({}) AND "
                    "r.debate_id IS NULL ORDER BY d.completed_at, d.id LIMIT $1 OFFSET $2",
                    finalStatusesInSql()),
        {kBatch, failed});
    for (const auto& row : rows) {
      try {
        issueLate(row.text(0));
        ++written;
      } catch (const Error& error) {
        if (error.code() != Code::Damaged && error.code() != Code::Validation) throw;
        log::warning("debate {} has no receipt: {}", row.text(0), error.what());
        ++failed;
      }
      after_each();
    }
    if (rows.size() < static_cast<std::size_t>(kBatch)) break;
  }
  if (failed == 0) database_.write([](Connection& connection) { settingOrInsert(connection, kReceiptsComplete, "1"); });
  return written;
}

void Receipts::issueLate(const std::string& debate_id) {
  database_.write([&](Connection& connection) {
    // As a debate's end does: its row first, then the log's. It may be gone by now.
    const std::string_view locking = connection.engine() == database::Engine::Postgres ? " FOR UPDATE" : "";
    if (connection.query(fmt::format("SELECT 1 FROM debates WHERE id = $1{}", locking), {debate_id}).empty()) return;
    issue(connection, keyring_, debate_id);
  });
}

ReceiptKey Receipts::rotate() {
  return database_.writing([&](Connection& connection) {
    found(connection, keyring_);
    const auto head = lockLog(connection);
    const auto before = signerOf(connection, keyring_);
    const auto seed = crypto::randomBytes(32);
    ReceiptKey key;
    key.number = before.number + 1;
    key.key = {head.origin, crypto::ed25519PublicKey(seed)};
    key.created_at = nowMicros();
    const auto statement = receipts::makeRotation(head.origin, before.key.bytes, key.key.bytes, key.created_at);
    const auto said = receipts::canonical(statement);
    key.rotation = json::object{{"statement", statement},
                                {"signed_by_previous", toBase64(crypto::ed25519Sign(before.seed.reveal(), said))},
                                {"signed_by_next", toBase64(crypto::ed25519Sign(seed, said))}};
    insertKey(connection, keyring_, key, seed);
    return key;
  });
}

std::int64_t resealReceiptKeys(database::Database& database, const crypto::Keyring& keyring) {
  return database.writing([&](Connection& connection) {
    std::int64_t resealed = 0;
    for (const auto& key : receiptKeys(connection)) {
      if (startsWith(key.sealed_seed, fmt::format("v1.{}.", keyring.activeId()))) continue;
      resealed += connection.execute(
          "UPDATE receipt_keys SET seed = $1 WHERE number = $2 AND seed = $3",
          {keyring.seal(keyring.open(key.sealed_seed, key.context()), key.context()), key.number, key.sealed_seed});
    }
    return resealed;
  });
}

}  // namespace aragora::store
