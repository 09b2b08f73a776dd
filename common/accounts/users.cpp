#include "common/accounts/users.h"

#include <set>

#include "common/audit/audit.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::accounts {

namespace {
constexpr std::size_t kShortestPassword = 15;  // NIST SP 800-63B-4, without a second factor
constexpr std::size_t kFewCharacters = 5;
constexpr std::size_t kTellingName = 3;
constexpr std::size_t kLongestName = 200;
}  // namespace

std::string normalisedEmail(const std::string& email) { return lower(std::string(trim(email))); }

bool isAddress(const std::string& email) {
  const auto at = email.find('@');
  const bool plain = std::all_of(email.begin(), email.end(), [](unsigned char c) { return c > ' ' && c != 0x7f; });
  return plain && email.size() <= 254 && at != std::string::npos && at != 0 && at + 1 != email.size() &&
         email.find('@', at + 1) == std::string::npos;
}

std::string requireEmail(const std::string& given) {
  auto email = normalisedEmail(given);
  if (!isAddress(email))
    throw Error(Code::Validation, fmt::format("{} is not an address", printable(given, 80)), "such as ada@example.org");
  return email;
}

void requireName(const std::string& name) {
  if (name.size() > kLongestName)
    throw Error(Code::Validation, fmt::format("the name has more than {} bytes", kLongestName));
  if (name.find('\0') != std::string::npos) throw Error(Code::Validation, "the name holds a NUL");
}

void requirePassword(const Secret& password, const std::string& email) {
  const auto& text = password.reveal();
  const auto refuse = [](const std::string& why) {
    throw Error(Code::Validation, "the password " + why, "take a long one: openssl rand -base64 18");
  };
  if (text.size() < kShortestPassword)
    refuse(fmt::format("has fewer than {}", counted(kShortestPassword, "character")));
  if (text.size() > kLongestPassword) refuse(fmt::format("has more than {} bytes", kLongestPassword));
  if (std::set<char>(text.begin(), text.end()).size() < kFewCharacters) refuse("repeats a few characters");
  const auto name = email.substr(0, email.find('@'));
  if (name.size() >= kTellingName && text.size() < 2 * kShortestPassword && lower(text).find(name) != std::string::npos)
    refuse("holds the name of the account");
}

Role requireRole(const std::string& name) {
  if (const auto role = parseRole(name)) return *role;
  throw Error(Code::Validation, fmt::format("{} is no role", printable(name, 40)), "use viewer, member or admin");
}

// So long that the rule about names does not apply: one of 24 characters holds «ada» once in some thousand times.
Secret randomPassword() { return Secret(toBase64Url(crypto::randomBytes(24))); }

User userOf(const database::Row& row) {
  return {row.text(0),          row.text(1),    row.text(2),    requireRole(row.text(3)), row.integer(4) != 0,
          row.integer(5),       row.integer(6), row.integer(7), row.optionalInteger(8),   row.integer(9) != 0,
          row.integer(10) != 0, row.text(11)};
}

namespace {
std::optional<User> findBy(database::Connection& connection, std::string_view column, const std::string& value,
                           std::string_view locking = "") {
  const auto rows =
      connection.query(fmt::format("SELECT {} FROM users u WHERE u.{} = $1{}", kUserColumns, column, locking), {value});
  return rows.empty() ? std::nullopt : std::optional(userOf(rows[0]));
}

User require(std::optional<User> user, const std::string& named) {
  if (!user)
    throw Error(Code::NotFound, fmt::format("there is no user {}", printable(named, 80)), "see: aragora user list");
  return std::move(*user);
}
}  // namespace

std::optional<User> findUser(database::Connection& connection, const std::string& email) {
  return findBy(connection, "email", email);
}

User requireUser(database::Connection& connection, const std::string& email) {
  return require(findBy(connection, "email", email), email);
}

User requireUserById(database::Connection& connection, const std::string& user_id) {
  return require(findBy(connection, "id", user_id), user_id);
}

// No stronger than an UPDATE's: rows that refer to the user can be inserted beside it.
std::string_view lockingUser(const database::Connection& connection) {
  return connection.engine() == database::Engine::Postgres ? " FOR NO KEY UPDATE OF u" : "";
}

User lockUser(database::Connection& connection, const std::string& email) {
  return require(findBy(connection, "email", email, lockingUser(connection)), email);
}

User lockUserById(database::Connection& connection, const std::string& user_id) {
  return require(findBy(connection, "id", user_id, lockingUser(connection)), user_id);
}

void insertUser(database::Connection& connection, const User& user, const std::string& password_hash) {
  const auto inserted = connection.query(
      "INSERT INTO users (id, email, name, password_hash, role, email_verified, created_at, updated_at) VALUES ($1, "
      "$2, $3, $4, $5, $6, $7, $7) ON CONFLICT (email) DO NOTHING RETURNING id",
      {user.id, user.email, user.name, password_hash, std::string(roleName(user.role)),
       std::int64_t{user.email_verified ? 1 : 0}, user.created_at});
  if (inserted.empty())
    throw Error(Code::Conflict, fmt::format("there is a user {} already", user.email), "see: aragora user list");
}

bool anyAdmin(database::Connection& connection, const std::string& but) {
  return !connection.query("SELECT 1 FROM users WHERE role = 'admin' AND is_active = 1 AND id <> $1 LIMIT 1", {but})
              .empty();
}

void requireAnAdmin(database::Connection& connection, const User& user) {
  if (user.role != Role::Admin || !user.active || anyAdmin(connection)) return;
  throw Error(Code::Conflict,
              fmt::format("{} is the last administrator who may log in; nothing was changed", user.email),
              "make somebody else one first: aragora user role ada@example.org admin");
}

void record(database::Connection& connection, const crypto::Keyring& keyring, const Doer& doer,
            const std::string& action, const std::string& user, const std::string& result, json::object details) {
  audit::append(connection, keyring,
                {doer.actor, action, fmt::format("user:{}", user), result, doer.client.address, doer.client.request_id,
                 std::move(details)});
}

bool endSession(database::Connection& connection, const std::string& user, const std::string& session) {
  // As endSessions() does.
  connection.query(fmt::format("SELECT 1 FROM users u WHERE u.id = $1{}", lockingUser(connection)), {user});
  return connection.execute(
             "UPDATE sessions SET revoked_at = $1 WHERE user_id = $2 AND family = $3 AND revoked_at IS NULL",
             {nowMicros(), user, session}) > 0;
}

[[noreturn]] void refuseSession() {
  throw Error(Code::Unauthorized, "the session has ended", "log in again: POST /api/auth/login");
}

std::int64_t endSessions(database::Connection& connection, const std::string& user) {
  // A refresh holds it, too: what it puts in the place of the old token is there when we look, or never will be.
  connection.query(fmt::format("SELECT 1 FROM users u WHERE u.id = $1{}", lockingUser(connection)), {user});
  const auto now = nowMicros();
  const auto live = connection.query(
      "SELECT count(DISTINCT family) FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND rotated_at IS NULL "
      "AND "
      "expires_at > $2",
      {user, now});
  connection.query("UPDATE sessions SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL", {now, user});
  return live[0].integer(0);
}

void endWhatWasHandedOut(database::Connection& connection, const std::string& user) {
  endSessions(connection, user);
  connection.query("DELETE FROM one_time_tokens WHERE user_id = $1", {user});
  connection.query("UPDATE users SET mfa_secret = NULL WHERE id = $1 AND mfa_enabled = 0", {user});
}

}  // namespace aragora::accounts
