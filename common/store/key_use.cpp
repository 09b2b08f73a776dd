#include "common/store/key_use.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/store/receipts.h"
#include "common/store/settings.h"

namespace aragora::store {

namespace {
constexpr std::string_view kKept = "encryption.kept.";

// «v1.<key id>.<base64>»
std::string keyOf(const std::string& sealed) {
  const auto parts = split(sealed, '.');
  return parts.size() == 3 ? parts[1] : std::string("?");
}

std::string factorOf(const std::string& user) { return fmt::format("users|mfa_secret|{}", user); }
std::string keptOf(const std::string& id) { return fmt::format("settings|{}{}|value", kKept, id); }

// By the id of the key that each is of.
std::map<std::string, std::string> keptRows(database::Connection& connection) {
  std::map<std::string, std::string> kept;
  for (const auto& row : connection.query("SELECT name, value FROM settings WHERE substr(name, 1, $1) = $2",
                                          {static_cast<std::int64_t>(kKept.size()), std::string(kKept)}))
    kept[row.text(0).substr(kKept.size())] = row.text(1);
  return kept;
}

// Who is enough for what was signed. A key or token that has ended is known to nobody any more, whatever is done.
KeyUse signedRows(database::Connection& connection) {
  KeyUse use;
  const auto now = nowMicros();
  const auto count = [&](const char* what, const char* sql, const database::Values& values) {
    for (const auto& row : connection.query(sql, values)) use[what][row.text(0)] += row.integer(1);
  };
  count("audit entries", "SELECT key_id, count(*) FROM audit_log WHERE key_id <> '' GROUP BY key_id", {});
  count("debate events", "SELECT key_id, count(*) FROM debate_events WHERE key_id <> '' GROUP BY key_id", {});
  count("API keys",
        "SELECT key_id, count(*) FROM api_keys WHERE key_id <> '' AND revoked_at IS NULL AND expires_at > $1 GROUP BY "
        "key_id",
        {now});
  count("one-time tokens",
        "SELECT key_id, count(*) FROM one_time_tokens WHERE key_id <> '' AND expires_at > $1 GROUP BY key_id", {now});
  count("seals of old debates",
        "SELECT substr(chain_seal, 1, 8), count(*) FROM debates WHERE chain_seal IS NOT NULL GROUP BY 1", {});
  for (const auto& row : connection.query("SELECT recovery_codes FROM users WHERE recovery_codes IS NOT NULL", {})) {
    const auto value = tryParseJson(row.text(0));
    const auto* const object = value ? value->if_object() : nullptr;
    ++use["sets of recovery codes"][object != nullptr ? jsonTextOr(*object, "key", "?") : "?"];
  }
  return use;
}

Secret keptText(const crypto::Keyring::Derived& keys) {
  return Secret(toJson(json::object{{"audit", toHex(keys.audit.reveal())},
                                    {"event", toHex(keys.event.reveal())},
                                    {"token", toHex(keys.token.reveal())}}));
}

std::optional<crypto::Keyring::Derived> parseKept(const std::string& text) {
  const auto value = tryParseJson(text);
  if (!value || !value->is_object()) return std::nullopt;
  const auto part = [&](const char* name) { return fromHex(jsonTextOr(value->get_object(), name, "")).value_or(""); };
  return crypto::Keyring::Derived{Secret(part("audit")), Secret(part("event")), Secret(part("token"))};
}
}  // namespace

KeyUse keyUse(database::Connection& connection, const crypto::Keyring& keyring) {
  KeyUse use;
  const auto kept = keptRows(connection);
  for (const auto& [what, by_key] : signedRows(connection)) {
    for (const auto& [id, rows] : by_key) {
      if (kept.count(id) == 0) use[what][id] = rows;
    }
  }
  for (const auto& [id, sealed] : kept) ++use["kept keys"][keyOf(sealed)];
  for (const auto& row : connection.query("SELECT mfa_secret FROM users WHERE mfa_secret IS NOT NULL", {}))
    ++use["second factors"][keyOf(row.text(0))];
  if (hasReceipts(connection)) {  // a database that is about to be upgraded is asked, too
    for (const auto& row : connection.query("SELECT seed FROM receipt_keys", {}))
      ++use["receipt keys"][keyOf(row.text(0))];
  }
  if (const auto check = readSetting(connection, kKeyCheck); check && *check != keyring.checkValue())
    use["key checks"][check->substr(0, 8)] = 1;
  return use;
}

KeyUse signedBefore(database::Connection& connection, const crypto::Keyring& keyring) {
  auto use = signedRows(connection);
  for (auto& [what, by_key] : use) by_key.erase(keyring.activeId());
  return use;
}

crypto::Keyring withKeptKeys(database::Connection& connection, const crypto::Keyring& keyring) {
  auto wider = keyring;
  for (const auto& [id, sealed] : keptRows(connection)) {
    if (keyring.has(id) || !keyring.has(keyOf(sealed))) continue;
    if (auto keys = parseKept(keyring.open(sealed, keptOf(id)))) wider.keep(id, std::move(*keys));
  }
  return wider;
}

namespace {
std::int64_t resealFactors(database::Database& database, const crypto::Keyring& keyring) {
  std::int64_t resealed = 0;
  for (const auto& row : database.query("SELECT id, mfa_secret FROM users WHERE mfa_secret IS NOT NULL ORDER BY id")) {
    const auto& user = row.text(0);
    const auto& before = row.text(1);
    if (keyOf(before) == keyring.activeId()) continue;
    const auto after = keyring.seal(keyring.open(before, factorOf(user)), factorOf(user));
    database.write([&](database::Connection& connection) {
      resealed += connection.execute("UPDATE users SET mfa_secret = $1 WHERE id = $2 AND mfa_secret = $3",
                                     {after, user, before});
    });
  }
  return resealed;
}

// Of every key that is named here, whether or not something is signed with it yet: an instance that was not started
// anew may still do so.
std::int64_t keepDerived(database::Database& database, const crypto::Keyring& keyring) {
  return database.writing([&](database::Connection& connection) {
    std::int64_t written = 0;
    const auto kept = keptRows(connection);
    const auto keep = [&](const std::string& id, const std::string& text) {
      connection.query(
          "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET value = "
          "excluded.value, updated_at = excluded.updated_at",
          {std::string(kKept) + id, keyring.seal(text, keptOf(id)), nowMicros()});
      ++written;
    };
    for (const auto& [id, sealed] : kept) {
      if (keyOf(sealed) != keyring.activeId()) keep(id, keyring.open(sealed, keptOf(id)));
    }
    for (const auto& id : keyring.ids()) {
      if (id != keyring.activeId() && kept.count(id) == 0) keep(id, keptText(keyring.derivedOf(id)).reveal());
    }
    return written;
  });
}
}  // namespace

Resealed resealEverything(database::Database& database, const crypto::Keyring& keyring) {
  return {resealFactors(database, keyring), keepDerived(database, keyring), resealReceiptKeys(database, keyring)};
}

}  // namespace aragora::store
