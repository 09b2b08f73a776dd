// The part of Receipts that is read: what clients are answered and what verifiers take.
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/receipts/canonical.h"
#include "common/store/receipt_log.h"

namespace aragora::store {

using database::Connection;

namespace {
LogHead requireLog(Connection& connection) {
  const auto head = readLog(connection);
  if (!head)
    throw Error(Code::NotFound, "the log of receipts was not begun", "the first start of the daemon begins it");
  return *head;
}

std::int64_t within(std::optional<std::int64_t> size, const LogHead& head) {
  if (!size) return head.size;
  if (*size < 1 || *size > head.size)
    throw Error(Code::Validation, fmt::format("the log has {} receipts, there is no tree of {}", head.size, *size));
  return *size;
}

json::array toHexes(const std::vector<receipts::Hash>& hashes) {
  json::array list;
  for (const auto& hash : hashes) list.emplace_back(toHex(hash));
  return list;
}

std::string noteOf(Connection& connection, const crypto::Keyring& keyring, const LogHead& head, std::int64_t size) {
  const auto signer = signerOf(connection, keyring);
  return receipts::signCheckpoint({head.origin, size, receipts::rootOf(size, nodesIn(connection))}, signer.key,
                                  signer.seed.reveal());
}

json::array rotationsIn(const std::vector<ReceiptKey>& keys) {
  json::array rotations;
  for (const auto& key : keys) {
    if (!key.rotation.is_null()) rotations.push_back(key.rotation);
  }
  return rotations;
}

// Null once the debate was erased, and its salt with it.
json::value contentsOf(Connection& connection, const std::string& debate_id) {
  const auto salts = connection.query("SELECT salt FROM receipt_salts WHERE debate_id = $1", {debate_id});
  const auto debate = receiptMaterial(connection, debate_id);
  if (salts.empty() || !debate) return nullptr;
  json::array events;
  for (const auto& event : debate->events)
    events.push_back(json::object{{"seq", event.seq},
                                  {"type", event.type},
                                  {"round", event.round},
                                  {"seat", event.seat},
                                  {"at", event.at},
                                  {"payload", event.payload}});
  return json::object{{"salt", salts[0].text(0)},
                      {"owner", debate->owner},
                      {"context", debate->context},
                      {"events", std::move(events)}};
}

json::object proofOf(Connection& connection, std::int64_t index, std::int64_t size) {
  return {{"index", index},
          {"size", size},
          {"hashes", toHexes(receipts::inclusionProof(index, size, nodesIn(connection)))}};
}

std::optional<Receipt> one(const database::Rows& rows) {
  return rows.empty() ? std::nullopt : std::optional(toReceipt(rows[0]));
}
}  // namespace

std::optional<Receipt> Receipts::ofDebate(const std::string& debate_id) {
  return one(
      database_.query(fmt::format("SELECT {} FROM receipts WHERE debate_id = $1", kReceiptColumns), {debate_id}));
}

std::optional<Receipt> Receipts::at(std::int64_t index) {
  return one(database_.query(fmt::format("SELECT {} FROM receipts WHERE log_index = $1", kReceiptColumns), {index}));
}

std::int64_t Receipts::size() {
  return database_.reading([](Connection& connection) {
    const auto head = readLog(connection);
    return head ? head->size : std::int64_t{0};
  });
}

json::object Receipts::bundle(const Receipt& receipt, std::optional<std::int64_t> size) {
  return database_.reading([&](Connection& connection) {
    const auto head = requireLog(connection);
    const auto of = within(size, head);
    if (receipt.index >= of)
      throw Error(Code::Validation, fmt::format("a tree of {} is older than receipt {}", of, receipt.index));
    return json::object{{"schema", receipts::kBundleSchema},
                        {"receipt", receipts::parseStrict(receipt.body, fmt::format("receipt {}", receipt.index))},
                        {"signature", receipt.signature},
                        {"inclusion", proofOf(connection, receipt.index, of)},
                        {"checkpoint", noteOf(connection, keyring_, head, of)},
                        {"rotations", rotationsIn(receiptKeys(connection))},
                        {"contents", contentsOf(connection, receipt.debate_id)}};
  });
}

json::object Receipts::checkpoint(std::optional<std::int64_t> size) {
  return database_.reading([&](Connection& connection) {
    const auto head = requireLog(connection);
    const auto of = within(size, head);
    return json::object{{"origin", head.origin},
                        {"size", of},
                        {"root", toHex(receipts::rootOf(of, nodesIn(connection)))},
                        {"checkpoint", noteOf(connection, keyring_, head, of)}};
  });
}

json::object Receipts::inclusion(std::int64_t index, std::optional<std::int64_t> size) {
  return database_.reading([&](Connection& connection) {
    const auto of = within(size, requireLog(connection));
    auto proof = proofOf(connection, index, of);
    proof["leaf_hash"] = toHex(nodesIn(connection)(0, index));
    proof["root"] = toHex(receipts::rootOf(of, nodesIn(connection)));
    return proof;
  });
}

json::object Receipts::consistency(std::int64_t from, std::optional<std::int64_t> to) {
  return database_.reading([&](Connection& connection) {
    const auto of = within(to, requireLog(connection));
    const auto node = nodesIn(connection);
    const auto proof = receipts::consistencyProof(from, of, node);
    return json::object{{"from", from},
                        {"from_root", toHex(receipts::rootOf(from, node))},
                        {"to", of},
                        {"to_root", toHex(receipts::rootOf(of, node))},
                        {"hashes", toHexes(proof)}};
  });
}

json::object Receipts::keys() {
  return database_.reading([&](Connection& connection) {
    const auto keys = receiptKeys(connection);
    json::array list;
    for (const auto& key : keys)
      list.push_back(json::object{{"id", key.key.id()},
                                  {"algorithm", "Ed25519"},
                                  {"public_key", toBase64(key.key.bytes)},
                                  {"verifier_key", key.key.text()},
                                  {"pem", receipts::toPem(key.key)},
                                  {"created_at", key.created_at},
                                  {"active", &key == &keys.back()}});
    return json::object{{"schema", "aragora.receipt-keys/v1"},
                        {"origin", receiptOrigin(connection)},
                        {"keys", std::move(list)},
                        {"rotations", rotationsIn(keys)}};
  });
}

}  // namespace aragora::store
