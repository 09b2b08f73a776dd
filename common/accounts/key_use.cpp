#include "common/accounts/key_use.h"

#include "common/base/text.h"

namespace aragora::accounts {

namespace {
// «v1.<key id>.<base64>»
std::string keyOf(const std::string& sealed) {
  const auto parts = split(sealed, '.');
  return parts.size() == 3 ? parts[1] : std::string("?");
}

std::string contextOf(const std::string& user) { return fmt::format("users|mfa_secret|{}", user); }
}  // namespace

KeyUse keyUse(database::Database& database) {
  KeyUse use;
  for (const auto& [what, table] :
       {std::pair("audit entries", "audit_log"), std::pair("debate events", "debate_events"),
        std::pair("API keys", "api_keys"), std::pair("one-time tokens", "one_time_tokens")}) {
    for (const auto& row : database.query(
             fmt::format("SELECT key_id, count(*) FROM {} WHERE key_id <> '' GROUP BY key_id ORDER BY key_id", table)))
      use[what][row.text(0)] = row.integer(1);
  }
  for (const auto& row : database.query("SELECT mfa_secret FROM users WHERE mfa_secret IS NOT NULL"))
    ++use["second factors"][keyOf(row.text(0))];
  return use;
}

std::int64_t resealSecondFactors(database::Database& database, const crypto::Keyring& keyring) {
  std::int64_t resealed = 0;
  for (const auto& row : database.query("SELECT id, mfa_secret FROM users WHERE mfa_secret IS NOT NULL ORDER BY id")) {
    const auto& user = row.text(0);
    const auto& before = row.text(1);
    if (keyOf(before) == keyring.activeId()) continue;
    const auto after = keyring.seal(keyring.open(before, contextOf(user)), contextOf(user));
    database.write([&](database::Connection& connection) {
      resealed += connection.execute("UPDATE users SET mfa_secret = $1 WHERE id = $2 AND mfa_secret = $3",
                                     {after, user, before});
    });
  }
  return resealed;
}

}  // namespace aragora::accounts
