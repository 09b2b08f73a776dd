#include "common/store/settings.h"

#include "common/base/clock.h"
#include "common/base/error.h"

namespace aragora::store {

std::optional<std::string> readSetting(database::Connection& connection, std::string_view name) {
  const auto rows = connection.query("SELECT value FROM settings WHERE name = $1", {std::string(name)});
  return rows.empty() ? std::nullopt : std::optional(rows[0].text(0));
}

std::map<std::string, std::string> settingsUnder(database::Connection& connection, std::string_view prefix) {
  std::map<std::string, std::string> found;
  for (const auto& row :
       connection.query("SELECT name, value FROM settings WHERE name LIKE $1", {std::string(prefix) + "%"}))
    found.emplace(row.text(0).substr(prefix.size()), row.text(1));
  return found;
}

void writeSetting(database::Connection& connection, std::string_view name, const std::optional<std::string>& value) {
  if (!value) {
    connection.execute("DELETE FROM settings WHERE name = $1", {std::string(name)});
    return;
  }
  connection.query(
      "INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET "
      "value = excluded.value, updated_at = excluded.updated_at",
      {std::string(name), *value, nowMicros()});
}

std::string settingOrInsert(database::Connection& connection, std::string_view name, const std::string& value) {
  // Read first: a standby has what the primary was told, and cannot be told anything.
  if (auto stored = readSetting(connection, name)) return *stored;
  connection.query("INSERT INTO settings (name, value, updated_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
                   {std::string(name), value, nowMicros()});
  return readSetting(connection, name).value_or(value);
}

void countUp(database::Connection& connection, std::string_view name) {
  connection.query(
      "INSERT INTO settings (name, value, updated_at) VALUES ($1, '1', $2) ON CONFLICT (name) DO UPDATE SET "
      "value = CAST(CAST(settings.value AS bigint) + 1 AS text), updated_at = excluded.updated_at",
      {std::string(name), nowMicros()});
}

void requireSameKey(database::Connection& connection, const crypto::Keyring& keyring) {
  const auto stored = settingOrInsert(connection, kKeyCheck, keyring.checkValue());
  if (stored == keyring.checkValue()) return;
  if (keyring.knows(stored)) {  // rotated: the old one is named among the previous keys
    if (connection.execute("UPDATE settings SET value = $1, updated_at = $2 WHERE name = $3 AND value = $4",
                           {keyring.checkValue(), nowMicros(), std::string(kKeyCheck), stored}) == 0)
      requireSameKey(connection, keyring);  // somebody else rotated at this moment: maybe to another key
    return;
  }
  throw Error(Code::Config,
              fmt::format("the encryption key is not the one this database was used with (key {}, database has {})",
                          keyring.checkValue().substr(0, 8), stored.substr(0, 8)),
              "use the key that was in force before, or name it in encryption.previous_keys");
}

}  // namespace aragora::store
