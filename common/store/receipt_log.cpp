#include "common/store/receipt_log.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/receipts/canonical.h"
#include "common/store/states.h"

namespace aragora::store {

using database::Connection;

namespace {
Error damaged(const std::string& what) {
  return {Code::Damaged, "the log of receipts: " + what, "restore a backup; aragora verify says what else is wrong"};
}

std::vector<receipts::Served> servedIn(Connection& connection, const std::string& debate_id) {
  std::vector<receipts::Served> served;
  for (const auto& row : connection.query(
           "SELECT agent, provider, model, sum(CASE WHEN status = $2 THEN 1 ELSE 0 END), sum(CASE WHEN status = $2 "
           "THEN 0 ELSE 1 END), CAST(sum(tokens_in) AS bigint), CAST(sum(tokens_out) AS bigint), CAST(sum(cost_picos) "
           "AS bigint) FROM agent_calls WHERE debate_id = $1 GROUP BY agent, provider, model",
           {debate_id, std::string(name(CallState::Done))}))
    served.push_back({row.text(0), row.text(1), row.text(2), row.integer(3), row.integer(4), row.integer(5),
                      row.integer(6), row.integer(7)});
  std::sort(served.begin(), served.end(), [](const auto& a, const auto& b) {
    return std::tie(a.seat, a.provider, a.model) < std::tie(b.seat, b.provider, b.model);
  });
  for (const auto& row : connection.query(
           "SELECT agent, provider, model, request_id FROM agent_calls WHERE debate_id = $1 AND request_id "
           "IS NOT NULL ORDER BY started_at, id",
           {debate_id})) {
    for (auto& one : served) {
      if (one.seat == row.text(0) && one.provider == row.text(1) && one.model == row.text(2))
        one.request_ids.push_back(row.text(3));
    }
  }
  return served;
}

std::optional<receipts::Budget> budgetIn(Connection& connection, const std::string& debate_id) {
  const auto rows = connection.query(
      "SELECT cap_picos, settled_picos, unknown_picos, reserved_picos FROM budgets WHERE scope = 'debate' AND subject "
      "= "
      "$1 ORDER BY day LIMIT 1",
      {debate_id});
  if (rows.empty()) return std::nullopt;
  return receipts::Budget{rows[0].optionalInteger(0), rows[0].integer(1), rows[0].integer(2), rows[0].integer(3)};
}

LogHead toHead(const database::Row& row) { return {row.text(0), row.integer(1)}; }
}  // namespace

bool hasTable(Connection& connection, const std::string& name) {
  return connection.engine() == database::Engine::Postgres
             ? !connection.query("SELECT to_regclass($1)::text", {name})[0].isNull(0)
             : !connection.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1", {name}).empty();
}

bool hasReceipts(Connection& connection) { return hasTable(connection, "receipt_keys"); }

LogHead lockLog(Connection& connection) {
  const std::string_view locking = connection.engine() == database::Engine::Postgres ? " FOR UPDATE" : "";
  const auto rows = connection.query(fmt::format("SELECT origin, size FROM receipt_log WHERE id = 1{}", locking), {});
  if (rows.empty()) throw damaged("it was not begun");
  return toHead(rows[0]);
}

std::optional<LogHead> readLog(Connection& connection) {
  const auto rows = connection.query("SELECT origin, size FROM receipt_log WHERE id = 1", {});
  return rows.empty() ? std::nullopt : std::optional(toHead(rows[0]));
}

receipts::NodeAt nodesIn(Connection& connection) {
  return [&connection](std::int64_t level, std::int64_t position) {
    const auto rows = level == 0 ? connection.query("SELECT leaf_hash FROM receipts WHERE log_index = $1", {position})
                                 : connection.query("SELECT hash FROM receipt_nodes WHERE level = $1 AND position = $2",
                                                    {level, position});
    const auto hash = rows.empty() ? std::nullopt : fromHex(rows[0].text(0));
    if (!hash || hash->size() != 32)
      throw damaged(level == 0 ? fmt::format("receipt {} is missing", position)
                               : fmt::format("node {} of level {} is missing", position, level));
    return *hash;
  };
}

Signer signerOf(Connection& connection, const crypto::Keyring& keyring) {
  const auto keys = receiptKeys(connection);
  if (keys.empty()) throw damaged("there is no key");
  const auto& last = keys.back();
  return {last.number, last.key, Secret(keyring.open(last.sealed_seed, last.context()))};
}

std::string receiptOrigin(Connection& connection) {
  const auto head = readLog(connection);
  return head ? head->origin : std::string();
}

std::vector<ReceiptKey> receiptKeys(Connection& connection) {
  const auto origin = receiptOrigin(connection);
  std::vector<ReceiptKey> keys;
  for (const auto& row : connection.query("SELECT number, public_key, seed, created_at, statement, signed_by_previous, "
                                          "signed_by_next FROM receipt_keys ORDER BY number",
                                          {})) {
    ReceiptKey key;
    key.number = row.integer(0);
    key.key = {origin, fromBase64(row.text(1)).value_or("")};
    key.sealed_seed = row.text(2);
    key.created_at = row.integer(3);
    if (!row.isNull(4))
      key.rotation = json::object{{"statement", receipts::parseStrict(row.text(4), "a rotation of the receipts' key")},
                                  {"signed_by_previous", row.text(5)},
                                  {"signed_by_next", row.text(6)}};
    keys.push_back(std::move(key));
  }
  return keys;
}

Receipt toReceipt(const database::Row& row) {
  return {row.integer(0), row.text(1), row.text(2), row.text(3), row.text(4), row.text(5), row.integer(6)};
}

std::optional<receipts::DebateRecord> receiptMaterial(Connection& connection, const std::string& debate_id) {
  const auto rows = connection.query(
      "SELECT owner_id, context, created_at, started_at, completed_at FROM debates WHERE id = $1", {debate_id});
  if (rows.empty()) return std::nullopt;
  receipts::DebateRecord debate;
  debate.id = debate_id;
  debate.owner = rows[0].text(0);
  debate.context = rows[0].text(1);
  debate.created_at = rows[0].integer(2);
  debate.started_at = rows[0].optionalInteger(3);
  debate.ended_at = rows[0].optionalInteger(4);
  for (const auto& row :
       connection.query("SELECT seq, type, round, agent, at, payload, hash, key_id FROM debate_events "
                        "WHERE debate_id = $1 ORDER BY seq",
                        {debate_id})) {
    debate.events.push_back({row.integer(0), row.text(1), row.integer(2), row.text(3), row.integer(4), row.text(5)});
    debate.chain_head = row.text(6);
    debate.chain_key = row.text(7);
  }
  debate.served = servedIn(connection, debate_id);
  debate.budget = budgetIn(connection, debate_id);
  return debate;
}

}  // namespace aragora::store
