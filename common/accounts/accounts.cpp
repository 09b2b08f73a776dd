#include "common/accounts/accounts.h"

#include <set>

#include "common/audit/audit.h"
#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/crypto/password.h"

namespace aragora::accounts {

namespace {
constexpr std::string_view kUserColumns =
    "u.id, u.email, u.name, u.role, u.is_active, u.token_version, u.created_at, u.updated_at, u.last_login_at";
constexpr std::size_t kUserWidth = 9;
constexpr std::size_t kShortestPassword = 15;  // NIST SP 800-63B-4, without a second factor
constexpr std::size_t kLongestPassword = 1024;
constexpr std::size_t kFewCharacters = 5;
constexpr std::size_t kTellingName = 3;
constexpr std::string_view kRefreshPrefix = "rt_";

User userOf(const database::Row& row) {
  return {row.text(0),    row.text(1),    row.text(2),    requireRole(row.text(3)), row.integer(4) != 0,
          row.integer(5), row.integer(6), row.integer(7), row.optionalInteger(8)};
}

std::int64_t nowSeconds() { return nowMicros() / 1'000'000; }

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

struct RefreshToken {
  std::string id;  // of its row
  std::string text;
  std::string digest() const { return crypto::sha256Hex(text); }
};

RefreshToken newRefreshToken() {
  const auto id = newUlid();
  return {id, fmt::format("{}{}_{}", kRefreshPrefix, id, toBase64Url(crypto::randomBytes(32)))};
}

std::optional<RefreshToken> parseRefreshToken(const std::string& text) {
  constexpr std::size_t kIdLength = 26;
  const auto prefix = kRefreshPrefix.size();
  if (text.size() > 200 || !startsWith(text, kRefreshPrefix) || text.size() < prefix + kIdLength + 2 ||
      text[prefix + kIdLength] != '_')
    return std::nullopt;
  return RefreshToken{text.substr(prefix, kIdLength), text};
}

std::optional<User> find(database::Connection& connection, const std::string& email) {
  const auto rows = connection.query(fmt::format("SELECT {} FROM users u WHERE u.email = $1", kUserColumns), {email});
  return rows.empty() ? std::nullopt : std::optional(userOf(rows[0]));
}

User require(database::Connection& connection, const std::string& email) {
  auto user = find(connection, email);
  if (!user)
    throw Error(Code::NotFound, fmt::format("there is no user {}", printable(email, 80)), "see: aragora user list");
  return std::move(*user);
}

// After `user` was changed, and recorded: the record holds the audit chain's lock, so that of two who take each other's
// role away the second sees what the first did.
void requireAnAdmin(database::Connection& connection, const User& user) {
  if (user.role != Role::Admin || !user.active) return;
  const auto left = connection.query("SELECT count(*) FROM users WHERE role = 'admin' AND is_active = 1", {});
  if (left[0].integer(0) == 0)
    throw Error(Code::Conflict,
                fmt::format("{} is the last administrator who may log in; nothing was changed", user.email),
                "make somebody else one first: aragora user role ada@example.org admin");
}

// Answers how many there were.
std::int64_t endSessions(database::Connection& connection, const std::string& user) {
  const auto now = nowMicros();
  const auto live = connection.query(
      "SELECT count(DISTINCT family) FROM sessions WHERE user_id = $1 AND revoked_at IS NULL AND rotated_at IS NULL "
      "AND "
      "expires_at > $2",
      {user, now});
  connection.query("UPDATE sessions SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL", {now, user});
  return live[0].integer(0);
}

void endSession(database::Connection& connection, const std::string& user, const std::string& session) {
  connection.query("UPDATE sessions SET revoked_at = $1 WHERE user_id = $2 AND family = $3 AND revoked_at IS NULL",
                   {nowMicros(), user, session});
}

void insertSession(database::Connection& connection, const RefreshToken& token, const std::string& user,
                   const std::string& family, Micros expires_at, const Client& client) {
  const auto now = nowMicros();
  connection.query(
      "INSERT INTO sessions (id, user_id, family, refresh_digest, ip_address, device, created_at, last_used_at, "
      "expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)",
      {token.id, user, family, token.digest(), client.address, printable(client.device, 200), now, expires_at});
}

[[noreturn]] void refuseRefresh() {
  throw Error(Code::Unauthorized, "the refresh token is not valid", "log in again: POST /api/auth/login");
}
}  // namespace

Role requireRole(const std::string& name) {
  if (const auto role = parseRole(name)) return *role;
  throw Error(Code::Validation, fmt::format("{} is no role", printable(name, 40)), "use viewer, member or admin");
}

std::string normalisedEmail(const std::string& email) { return lower(std::string(trim(email))); }

// So long that the rule about names does not apply: one of 24 characters holds «ada» once in some thousand times.
Secret randomPassword() { return Secret(toBase64Url(crypto::randomBytes(24))); }

Accounts::Accounts(database::Database& database, const crypto::Keyring& keyring, AccountsOptions options)
    : database_(database),
      keyring_(keyring),
      tokens_(std::move(options.token_secret), options.access_lifetime),
      refresh_lifetime_(options.refresh_lifetime) {}

void Accounts::record(database::Connection& connection, const std::string& actor, const std::string& action,
                      const std::string& user, const Client& client, const std::string& result) const {
  audit::append(connection, keyring_,
                {actor, action, fmt::format("user:{}", user), result, client.address, client.request_id, {}});
}

User Accounts::add(const std::string& given, const std::string& name, Role role, const Secret& password,
                   const std::string& actor) {
  User user;
  user.id = newUlid();
  user.email = requireEmail(given);
  user.name = name;
  user.role = role;
  if (name.size() > 200) throw Error(Code::Validation, "the name has more than 200 bytes");
  requirePassword(password, user.email);
  user.created_at = user.updated_at = nowMicros();
  const auto hash = crypto::hashPassword(password);
  database_.write([&](database::Connection& connection) {
    if (find(connection, user.email))
      throw Error(Code::Conflict, fmt::format("there is a user {} already", user.email), "see: aragora user list");
    connection.query(
        "INSERT INTO users (id, email, name, password_hash, role, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, "
        "$6, $6)",
        {user.id, user.email, user.name, hash, std::string(roleName(user.role)), user.created_at});
    record(connection, actor, "user.add", user.id, {});
  });
  return user;
}

std::vector<User> Accounts::list() {
  std::vector<User> users;
  for (const auto& row : database_.query(fmt::format("SELECT {} FROM users u ORDER BY u.email", kUserColumns)))
    users.push_back(userOf(row));
  return users;
}

void Accounts::setPassword(const std::string& given, const Secret& password, const std::string& actor) {
  const auto email = normalisedEmail(given);
  requirePassword(password, email);
  const auto hash = crypto::hashPassword(password);
  database_.write([&](database::Connection& connection) {
    const auto user = require(connection, email);
    connection.query(
        "UPDATE users SET password_hash = $1, token_version = token_version + 1, updated_at = $2 WHERE id = $3",
        {hash, nowMicros(), user.id});
    endSessions(connection, user.id);
    record(connection, actor, "user.password", user.id, {});
  });
}

void Accounts::setActive(const std::string& given, bool active, const std::string& actor) {
  database_.write([&](database::Connection& connection) {
    const auto user = require(connection, normalisedEmail(given));
    connection.query(
        "UPDATE users SET is_active = $1, token_version = token_version + 1, updated_at = $2 WHERE id = $3",
        {std::int64_t(active ? 1 : 0), nowMicros(), user.id});
    endSessions(connection, user.id);
    record(connection, actor, active ? "user.enable" : "user.disable", user.id, {});
    requireAnAdmin(connection, user);
  });
}

bool Accounts::setRole(const std::string& given, Role role, const std::string& actor) {
  return database_.writing([&](database::Connection& connection) {
    const auto user = require(connection, normalisedEmail(given));
    if (user.role == role) return false;
    connection.query("UPDATE users SET role = $1, token_version = token_version + 1, updated_at = $2 WHERE id = $3",
                     {std::string(roleName(role)), nowMicros(), user.id});
    endSessions(connection, user.id);
    audit::append(connection, keyring_,
                  {actor,
                   "user.role",
                   fmt::format("user:{}", user.id),
                   "success",
                   {},
                   {},
                   {{"from", roleName(user.role)}, {"to", roleName(role)}}});
    requireAnAdmin(connection, user);
    return true;
  });
}

void Accounts::remove(const std::string& given, const std::string& actor) {
  database_.write([&](database::Connection& connection) {
    const auto user = require(connection, normalisedEmail(given));
    connection.query("DELETE FROM users WHERE id = $1", {user.id});  // sessions and API keys go with it
    record(connection, actor, "user.delete", user.id, {});
    requireAnAdmin(connection, user);
  });
}

Login Accounts::logIn(const std::string& given, const Secret& password, const Client& client) {
  // An unknown address costs what a known one costs.
  static const std::string nobodys_hash = crypto::hashPassword(randomPassword());
  const auto email = normalisedEmail(given);
  // What is no address is not looked for: libpq would cut it at a NUL and find somebody.
  const auto found =
      !isAddress(email)
          ? database::Rows()
          : database_.query(fmt::format("SELECT {}, u.password_hash FROM users u WHERE u.email = $1", kUserColumns),
                            {email});
  const auto hash = found.empty() ? nobodys_hash : found[0].text(kUserWidth);
  const auto refuse = [&] {
    database_.write([&](database::Connection& connection) {
      record(connection, fmt::format("address:{}", client.address), "session.login",
             found.empty() ? "unknown" : found[0].text(0), client, "failure");
    });
    throw Error(Code::Unauthorized, "the address or the password is wrong");
  };
  const bool matches = password.size() <= kLongestPassword && crypto::passwordMatches(password, hash);
  if (!matches || found.empty() || !userOf(found[0]).active) refuse();
  auto user = userOf(found[0]);
  const auto rehashed = crypto::passwordNeedsRehash(hash) ? crypto::hashPassword(password) : hash;
  const auto token = newRefreshToken();
  const auto now = nowMicros();
  const auto expires_at = now + std::chrono::microseconds(refresh_lifetime_).count();
  const bool opened = database_.writing([&](database::Connection& connection) {
    // Whoever changed the password or switched the account off meanwhile has ended this login, too.
    if (connection.execute(
            "UPDATE users SET last_login_at = $1, password_hash = $2 WHERE id = $3 AND password_hash = $4 "
            "AND token_version = $5",
            {now, rehashed, user.id, hash, user.token_version}) == 0)
      return false;
    connection.query("DELETE FROM sessions WHERE user_id = $1 AND expires_at <= $2", {user.id, now});
    // A family has the name of its first token.
    insertSession(connection, token, user.id, token.id, expires_at, client);
    record(connection, fmt::format("user:{}", user.id), "session.login", user.id, client);
    return true;
  });
  if (!opened) refuse();
  user.last_login_at = now;
  return tokensFor(std::move(user), token.id, token.text);
}

Login Accounts::tokensFor(User user, const std::string& session, std::string refresh_token) const {
  Login login;
  Access access{user.id, session, user.token_version, 0};
  login.access_token = tokens_.issue(access, nowSeconds());
  login.access_expires_at = access.expires_at;
  login.refresh_token = std::move(refresh_token);
  login.user = std::move(user);
  return login;
}

std::vector<std::string> Accounts::addressesOf(const std::string& given) {
  const auto email = normalisedEmail(given);
  std::vector<std::string> addresses;
  if (!isAddress(email)) return addresses;
  return database_.reading([&](database::Connection& connection) {
    for (const auto& row : connection.query("SELECT s.ip_address, max(s.created_at) FROM sessions s JOIN users u ON "
                                            "u.id = s.user_id WHERE u.email = $1 GROUP BY s.ip_address ORDER BY 2 DESC "
                                            "LIMIT 100",
                                            {email}))
      addresses.push_back(row.text(0));
    return addresses;
  });
}

Login Accounts::refresh(const std::string& given, const Client& client) {
  const auto old = parseRefreshToken(given);
  if (!old) refuseRefresh();
  const auto next = newRefreshToken();
  const auto now = nowMicros();
  struct Outcome {
    std::optional<User> user;
    std::string family;
  };
  // What ends a session must be committed, so nothing is thrown in here.
  const auto outcome = database_.writing([&](database::Connection& connection) -> Outcome {
    const auto rows = connection.query(
        fmt::format("SELECT {}, s.family, s.refresh_digest, s.expires_at, s.revoked_at FROM sessions s JOIN users u ON "
                    "u.id = s.user_id WHERE s.id = $1",
                    kUserColumns),
        {old->id});
    if (rows.empty() || !crypto::constantTimeEqual(rows[0].text(kUserWidth + 1), old->digest())) return {};
    const auto user = userOf(rows[0]);
    const auto& family = rows[0].text(kUserWidth);
    const auto expires_at = rows[0].integer(kUserWidth + 2);
    if (!user.active || !rows[0].isNull(kUserWidth + 3) || expires_at <= now) return {};
    const auto rotated = connection.execute(
        "UPDATE sessions SET rotated_at = $1, last_used_at = $1 WHERE id = $2 AND rotated_at IS NULL", {now, old->id});
    if (rotated == 0) {  // it was used before: one of its two holders is a thief
      endSession(connection, user.id, family);
      record(connection, fmt::format("address:{}", client.address), "session.reuse", user.id, client, "denied");
      return {};
    }
    insertSession(connection, next, user.id, family, expires_at, client);
    return {user, family};
  });
  if (!outcome.user) refuseRefresh();
  return tokensFor(*outcome.user, outcome.family, next.text);
}

Access Accounts::readAccessToken(std::string_view token) const { return tokens_.read(token, nowSeconds()); }

User Accounts::requireLive(const Access& access) {
  const auto rows = database_.query(
      fmt::format("SELECT {} FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND s.revoked_at IS NULL "
                  "AND s.expires_at > $2",
                  kUserColumns),
      {access.session, nowMicros()});
  if (!rows.empty()) {
    auto user = userOf(rows[0]);
    if (user.id == access.user && user.active && user.token_version == access.token_version) return user;
  }
  throw Error(Code::Unauthorized, "the session has ended", "log in again: POST /api/auth/login");
}

void Accounts::logOut(const Access& access, const Client& client) {
  database_.write([&](database::Connection& connection) {
    endSession(connection, access.user, access.session);
    record(connection, fmt::format("user:{}", access.user), "session.logout", access.user, client);
  });
}

std::int64_t Accounts::logOutEverywhere(const Access& access, const Client& client) {
  return database_.writing([&](database::Connection& connection) {
    connection.query("UPDATE users SET token_version = token_version + 1, updated_at = $1 WHERE id = $2",
                     {nowMicros(), access.user});
    const auto ended = endSessions(connection, access.user);
    record(connection, fmt::format("user:{}", access.user), "session.logout_all", access.user, client);
    return ended;
  });
}

}  // namespace aragora::accounts
