#include "common/accounts/self_service.h"

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/crypto/password.h"

namespace aragora::accounts {

namespace {
[[noreturn]] void refuseToken() {
  throw Error(Code::Unauthorized, "the link is not valid: it was used, replaced or has expired",
              "ask whoever gave it to you for another one");
}

void requireNoAdmin(database::Connection& connection, const std::string& but = "") {
  if (anyAdmin(connection, but))
    throw Error(Code::Conflict, "there is an administrator already",
                "they add others: aragora user add ada@example.org --role admin");
}
}  // namespace

User SelfService::insert(database::Connection& connection, const NewAccount& account, const std::string& email,
                         const std::string& hash, Role role, bool verified) const {
  User user;
  user.id = newUlid();
  user.email = email;
  user.name = account.name;
  user.role = role;
  user.email_verified = verified;
  user.created_at = user.updated_at = nowMicros();
  insertUser(connection, user, hash);
  return user;
}

User SelfService::enlist(const NewAccount& account, const Client& client) {
  const auto email = requireEmail(account.email);
  requireName(account.name);
  requirePassword(account.password, email);
  const auto hash = crypto::hashPassword(account.password);
  return database_.writing([&](database::Connection& connection) {
    auto user = insert(connection, account, email, hash, Role::Member, false);
    record(connection, keyring_, {fmt::format("address:{}", client.address), client}, "user.register", user.id);
    return user;
  });
}

User SelfService::change(const std::string& user_id, const ProfileChange& change, const Doer& doer) {
  if (change.name) requireName(*change.name);
  const auto email = change.email ? std::optional(requireEmail(*change.email)) : std::nullopt;
  const auto preferences = change.preferences ? toJson(*change.preferences) : std::string();
  if (preferences.size() > kLongestPreferences)
    throw Error(Code::Validation, fmt::format("the preferences have more than {} bytes", kLongestPreferences));
  return database_.writing([&](database::Connection& connection) {
    if (change.name)
      connection.query("UPDATE users SET name = $1, updated_at = $2 WHERE id = $3",
                       {*change.name, nowMicros(), user_id});
    if (email) changeEmail(connection, user_id, *email, doer);
    if (change.preferences)
      connection.query("UPDATE users SET preferences = $1, updated_at = $2 WHERE id = $3",
                       {preferences, nowMicros(), user_id});
    auto user = requireUserById(connection, user_id);
    record(connection, keyring_, doer, "user.profile", user_id);
    return user;
  });
}

void SelfService::changeEmail(database::Connection& connection, const std::string& user_id, const std::string& email,
                              const Doer& doer) const {
  const auto before = requireUserById(connection, user_id).email;
  if (before == email) return;
  if (findUser(connection, email)) throw Error(Code::Conflict, fmt::format("there is a user {} already", email));
  connection.query("UPDATE users SET email = $1, email_verified = 0, updated_at = $2 WHERE id = $3",
                   {email, nowMicros(), user_id});
  connection.query("DELETE FROM one_time_tokens WHERE user_id = $1", {user_id});
  record(connection, keyring_, doer, "user.email", user_id, "success", {{"from", before}, {"to", email}});
}

// Links that were handed out before are good no more either.
void SelfService::replacePassword(database::Connection& connection, const std::string& user_id,
                                  const std::string& hash) const {
  connection.query(
      "UPDATE users SET password_hash = $1, token_version = token_version + 1, updated_at = $2 WHERE id = $3",
      {hash, nowMicros(), user_id});
  endWhatWasHandedOut(connection, user_id);
}

void SelfService::changePassword(const std::string& user_id, const Secret& current, const Secret& wanted,
                                 const Doer& doer) {
  const auto rows =
      database_.query(fmt::format("SELECT {}, u.password_hash FROM users u WHERE u.id = $1", kUserColumns), {user_id});
  if (rows.empty()) throw Error(Code::NotFound, "this account is gone");
  const auto& old_hash = rows[0].text(kUserWidth);
  if (current.size() > kLongestPassword || !crypto::passwordMatches(current, old_hash)) {
    database_.write([&](database::Connection& connection) {
      record(connection, keyring_, doer, "user.password", user_id, "failure");
    });
    throw Error(Code::Forbidden, "the current password is wrong");
  }
  requirePassword(wanted, rows[0].text(1));
  const auto hash = crypto::hashPassword(wanted);
  database_.write([&](database::Connection& connection) {
    // Of two at once the second waits, and proved a password that is the current one no more.
    if (connection
            .query(fmt::format("SELECT 1 FROM users u WHERE u.id = $1 AND u.password_hash = $2{}",
                               lockingUser(connection)),
                   {user_id, old_hash})
            .empty())
      throw Error(Code::Conflict, "the password was changed meanwhile");
    replacePassword(connection, user_id, hash);
    record(connection, keyring_, doer, "user.password", user_id);
  });
}

Secret SelfService::issueReset(const std::string& email, const Doer& doer) {
  return database_.writing([&](database::Connection& connection) {
    const auto user = lockUser(connection, normalisedEmail(email));
    connection.query("DELETE FROM one_time_tokens WHERE user_id = $1 AND kind = 'reset'", {user.id});
    auto token = tokens_.issue(connection, TokenKind::Reset, user.id, {}, kResetLives);
    record(connection, keyring_, doer, "user.reset", user.id);
    return token;
  });
}

User SelfService::resetPassword(const std::string& token, const Secret& wanted, const Client& client) {
  // A password is hashed for good tokens only, and one that will not do costs no token.
  const auto found = database_.reading([&](database::Connection& connection) -> std::optional<User> {
    const auto seen = tokens_.look(connection, TokenKind::Reset, token);
    return seen ? std::optional(requireUserById(connection, seen->user)) : std::nullopt;
  });
  if (!found) refuseToken();
  requirePassword(wanted, found->email);
  const auto hash = crypto::hashPassword(wanted);
  return database_.writing([&](database::Connection& connection) {
    // The account before the token, as whoever ends tokens does.
    lockUserById(connection, found->id);
    const auto taken = tokens_.take(connection, TokenKind::Reset, token);
    if (!taken) refuseToken();
    replacePassword(connection, taken->user, hash);
    auto user = requireUserById(connection, taken->user);
    record(connection, keyring_, {fmt::format("address:{}", client.address), client}, "user.password", user.id,
           "success", {{"by", "reset"}});
    return user;
  });
}

Secret SelfService::issueSetup(const Doer& doer) {
  return database_.writing([&](database::Connection& connection) {
    requireNoAdmin(connection);
    connection.query("DELETE FROM one_time_tokens WHERE kind = 'setup'", {});
    auto token = tokens_.issue(connection, TokenKind::Setup, "", {}, kSetupLives);
    record(connection, keyring_, doer, "setup.link", "first");
    return token;
  });
}

User SelfService::setUp(const std::string& token, const NewAccount& account, const Client& client) {
  const bool good = database_.reading(
      [&](database::Connection& connection) { return tokens_.look(connection, TokenKind::Setup, token).has_value(); });
  if (!good) refuseToken();
  const auto email = requireEmail(account.email);
  requireName(account.name);
  requirePassword(account.password, email);
  const auto hash = crypto::hashPassword(account.password);
  return database_.writing([&](database::Connection& connection) {
    if (!tokens_.take(connection, TokenKind::Setup, token)) refuseToken();
    requireNoAdmin(connection);
    auto user = insert(connection, account, email, hash, Role::Admin, true);
    record(connection, keyring_, {fmt::format("address:{}", client.address), client}, "user.setup", user.id);
    // The record holds the audit chain's lock: whoever became one at the same moment is seen now.
    requireNoAdmin(connection, user.id);
    return user;
  });
}

}  // namespace aragora::accounts
