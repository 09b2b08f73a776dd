#include "common/audit/audit.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::audit {

namespace {
const std::string kGenesis(64, '0');
constexpr std::int64_t kChainLock = 0x61726167'6f726102;  // one writer at a time on PostgreSQL

std::string entryHash(const std::string& key, const std::vector<std::string>& fields) {
  std::string bytes;
  for (const auto& field : fields) bytes += fmt::format("{}:{}", field.size(), field);
  return toHex(crypto::hmacSha256(key, bytes));
}

struct Condition {
  std::string where;
  database::Values values;
};

Condition conditionOf(const Filter& filter) {
  Condition condition;
  std::vector<std::string> parts;
  const auto when = [&](const char* part, database::Value value) {
    condition.values.push_back(std::move(value));
    parts.push_back(fmt::format(fmt::runtime(part), fmt::format("${}", condition.values.size())));
  };
  if (!filter.actor.empty()) when("actor = {}", filter.actor);
  if (endsWith(filter.action, "."))
    when("substr(action, 1, length({0})) = {0}", filter.action);
  else if (!filter.action.empty())
    when("action = {}", filter.action);
  if (!filter.object.empty()) when("object = {}", filter.object);
  if (!filter.result.empty()) when("result = {}", filter.result);
  if (filter.since) when("at >= {}", *filter.since);
  if (filter.until) when("at <= {}", *filter.until);
  if (filter.before > 0) when("seq < {}", filter.before);
  if (!parts.empty()) condition.where = "WHERE " + join(parts, " AND ");
  return condition;
}
}  // namespace

void append(database::Connection& connection, const crypto::Keyring& keyring, const Entry& entry) {
  append(connection, keyring, std::vector<Entry>{entry});
}

void append(database::Connection& connection, const crypto::Keyring& keyring, const std::vector<Entry>& entries) {
  if (entries.empty()) return;
  if (connection.engine() == database::Engine::Postgres)
    connection.later({"SELECT pg_advisory_xact_lock($1)", {kChainLock}});
  auto [seq, previous] = head(connection);
  if (seq == 0) previous = kGenesis;
  const auto key = keyring.auditKey();
  for (const auto& entry : entries) {
    ++seq;
    const auto at = nowMicros();
    const auto details = toJson(entry.details);
    auto hash =
        entryHash(key, {previous, fmt::format("{}", seq), fmt::format("{}", at), entry.actor, entry.action,
                        entry.object, entry.result, entry.ip_address, entry.request_id, details, keyring.activeId()});
    connection.later(
        {"INSERT INTO audit_log (seq, at, actor, action, object, result, ip_address, request_id, details, key_id, "
         "prev_hash, hash) "
         "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
         {seq, at, entry.actor, entry.action, entry.object, entry.result, entry.ip_address, entry.request_id, details,
          keyring.activeId(), previous, hash}});
    previous = std::move(hash);
  }
}

Head head(database::Connection& connection) {
  const auto last = connection.query("SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1", {});
  return last.empty() ? Head{} : Head{last[0].integer(0), last[0].text(1)};
}

std::optional<std::string> contradiction(database::Connection& connection, const std::vector<Witness>& witnesses,
                                         Micros accepted_at) {
  const auto now = head(connection);
  for (const auto& witness : witnesses) {
    if (witness.at < accepted_at || witness.head.entries == 0) continue;
    if (witness.head.entries > now.entries)
      return fmt::format("the log ends at entry {}, but {} of {} saw {}", now.entries, witness.source,
                         toIso(witness.at), counted(witness.head.entries, "entry"));
    const auto there = connection.query("SELECT hash FROM audit_log WHERE seq = $1", {witness.head.entries});
    if (there.empty() || there[0].text(0) != witness.head.hash)
      return fmt::format("entry {} is not the one that {} of {} saw", witness.head.entries, witness.source,
                         toIso(witness.at));
  }
  return std::nullopt;
}

std::vector<Recorded> entries(database::Database& database, const Filter& filter) {
  auto condition = conditionOf(filter);
  auto& values = condition.values;
  values.emplace_back(filter.limit);
  values.emplace_back(filter.offset);
  std::vector<Recorded> found;
  for (const auto& row : database.query(
           fmt::format("SELECT seq, at, actor, action, object, result, ip_address, request_id, details, hash "
                       "FROM audit_log {} ORDER BY seq DESC LIMIT ${} OFFSET ${}",
                       condition.where, values.size() - 1, values.size()),
           values))
    found.push_back({row.integer(0),
                     row.integer(1),
                     {row.text(2), row.text(3), row.text(4), row.text(5), row.text(6), row.text(7), {}},
                     row.text(8),
                     row.text(9)});
  return found;
}

std::int64_t countEntries(database::Database& database, const Filter& filter) {
  const auto condition = conditionOf(filter);
  return database.query("SELECT count(*) FROM audit_log " + condition.where, condition.values).at(0).integer(0);
}

ChainResult verifyChain(database::Connection& connection, const crypto::Keyring& keyring) {
  constexpr std::int64_t kBatch = 1000;
  ChainResult result;
  // Nobody of us counts from less than one.
  for (const auto& row : connection.query("SELECT seq FROM audit_log WHERE seq < 1 ORDER BY seq LIMIT 1", {})) {
    result.first_bad = row.integer(0);
    result.reason = "no entry of ours has such a number";
    return result;
  }
  std::string previous = kGenesis;
  std::string key_id;
  std::optional<std::string> key;
  while (true) {
    const auto rows = connection.query(
        "SELECT seq, at, actor, action, object, result, ip_address, request_id, details, key_id, prev_hash, hash FROM "
        "audit_log "
        "WHERE seq > $1 ORDER BY seq LIMIT $2",
        {result.entries, kBatch});
    for (const auto& row : rows) {
      const auto bad = [&](std::string reason) {
        result.first_bad = row.integer(0);
        result.reason = std::move(reason);
        return result;
      };
      if (row.integer(0) != result.entries + 1) {
        bad("it is missing");
        result.first_bad = result.entries + 1;
        return result;
      }
      if (row.text(10) != previous) return bad("it does not follow the entry before it");
      if (key_id != row.text(9)) key = keyring.auditKey(key_id = row.text(9));
      if (!key)
        throw Error(
            Code::CouldNotVerify,
            fmt::format("audit entry {} is signed with key {}, which is not in the keyring", row.text(0), row.text(9)),
            "add that key to encryption.previous_keys");
      const auto expected =
          entryHash(*key, {row.text(10), row.text(0), row.text(1), row.text(2), row.text(3), row.text(4), row.text(5),
                           row.text(6), row.text(7), row.text(8), row.text(9)});
      if (!crypto::constantTimeEqual(expected, row.text(11))) return bad("its content does not match its hash");
      previous = row.text(11);
      ++result.entries;
    }
    if (rows.size() < static_cast<std::size_t>(kBatch)) return result;
  }
}

}  // namespace aragora::audit
