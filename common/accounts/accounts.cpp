#include "common/accounts/accounts.h"

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/crypto/password.h"

namespace aragora::accounts {

namespace {
constexpr std::string_view kRefreshPrefix = "rt_";
constexpr Micros kUnlockedFor = 900'000'000;
constexpr Micros kProofLasts = 300'000'000;
std::int64_t nowSeconds() { return nowMicros() / 1'000'000; }

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

Accounts::Accounts(database::Database& database, const crypto::Keyring& keyring, AccountsOptions options)
    : database_(database),
      keyring_(keyring),
      second_factor_(database, keyring),
      access_lifetime_(options.access_lifetime),
      tokens_(AccessTokens(std::move(options.token_secret), options.access_lifetime,
                           std::move(options.previous_token_secret))),
      refresh_lifetime_(options.refresh_lifetime) {}

void Accounts::reload(Secret token_secret, Secret previous_token_secret) {
  tokens_.set(AccessTokens(std::move(token_secret), access_lifetime_, std::move(previous_token_secret)));
}

void Accounts::record(database::Connection& connection, const std::string& actor, const std::string& action,
                      const std::string& user, const Client& client, const std::string& result) const {
  accounts::record(connection, keyring_, {actor, client}, action, user, result);
}

User Accounts::add(const std::string& given, const std::string& name, Role role, const Secret& password,
                   const std::string& actor) {
  User user;
  user.id = newUlid();
  user.email = requireEmail(given);
  user.name = name;
  user.role = role;
  requireName(name);
  requirePassword(password, user.email);
  user.created_at = user.updated_at = nowMicros();
  const auto hash = crypto::hashPassword(password);
  database_.write([&](database::Connection& connection) {
    insertUser(connection, user, hash);
    record(connection, actor, "user.add", user.id, {});
  });
  return user;
}

std::vector<User> Accounts::list(const Page& page) {
  std::vector<User> users;
  for (const auto& row :
       database_.query(fmt::format("SELECT {} FROM users u ORDER BY u.email LIMIT $1 OFFSET $2", kUserColumns),
                       {page.limit, page.offset}))
    users.push_back(userOf(row));
  return users;
}

std::int64_t Accounts::count() { return database_.query("SELECT count(*) FROM users")[0].integer(0); }

void Accounts::setPassword(const std::string& given, const Secret& password, const std::string& actor) {
  const auto email = normalisedEmail(given);
  requirePassword(password, email);
  const auto hash = crypto::hashPassword(password);
  database_.write([&](database::Connection& connection) {
    const auto user = lockUser(connection, email);
    connection.query(
        "UPDATE users SET password_hash = $1, token_version = token_version + 1, updated_at = $2 WHERE id = $3",
        {hash, nowMicros(), user.id});
    endWhatWasHandedOut(connection, user.id);
    record(connection, actor, "user.password", user.id, {});
  });
}

void Accounts::setActive(const std::string& given, bool active, const std::string& actor) {
  database_.write([&](database::Connection& connection) {
    const auto user = lockUser(connection, normalisedEmail(given));
    connection.query(
        "UPDATE users SET is_active = $1, token_version = token_version + 1, updated_at = $2 WHERE id = $3",
        {std::int64_t(active ? 1 : 0), nowMicros(), user.id});
    endWhatWasHandedOut(connection, user.id);
    record(connection, actor, active ? "user.enable" : "user.disable", user.id, {});
    requireAnAdmin(connection, user);
  });
}

bool Accounts::setRole(const std::string& given, Role role, const std::string& actor) {
  return database_.writing([&](database::Connection& connection) {
    const auto user = lockUser(connection, normalisedEmail(given));
    if (user.role == role) return false;
    connection.query("UPDATE users SET role = $1, token_version = token_version + 1, updated_at = $2 WHERE id = $3",
                     {std::string(roleName(role)), nowMicros(), user.id});
    endWhatWasHandedOut(connection, user.id);
    accounts::record(connection, keyring_, {actor, {}}, "user.role", user.id, "success",
                     {{"from", roleName(user.role)}, {"to", roleName(role)}});
    requireAnAdmin(connection, user);
    return true;
  });
}

void Accounts::remove(const std::string& given, const std::string& actor) {
  database_.write([&](database::Connection& connection) {
    const auto user = lockUser(connection, normalisedEmail(given));
    connection.query("DELETE FROM users WHERE id = $1", {user.id});  // sessions and API keys go with it
    record(connection, actor, "user.delete", user.id, {});
    requireAnAdmin(connection, user);
  });
}

Login Accounts::logIn(const std::string& given, const Secret& password, const Client& client, const std::string& code) {
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
  if (user.second_factor && code.empty()) {
    Login pending;
    pending.pending_token = tokens_.get()->issuePending({user.id, "", user.token_version, 0}, nowSeconds());
    pending.user = std::move(user);
    return pending;
  }
  const auto rehashed = crypto::passwordNeedsRehash(hash) ? crypto::hashPassword(password) : hash;
  auto login = open(std::move(user), {hash, rehashed, code}, client);
  if (!login) refuse();
  return std::move(*login);
}

Login Accounts::proveSecondFactor(const std::string& pending_token, const std::string& code, const Client& client) {
  const auto pending = tokens_.get()->readPending(pending_token, nowSeconds());
  const auto rows =
      database_.query(fmt::format("SELECT {} FROM users u WHERE u.id = $1", kUserColumns), {pending.user});
  const auto refuse = [] {
    throw Error(Code::Unauthorized, "the pending token is not valid", "log in again: POST /api/auth/login");
  };
  if (rows.empty()) refuse();
  auto user = userOf(rows[0]);
  if (!user.active || user.token_version != pending.token_version) refuse();
  user.second_factor = true;  // or it has been removed: open() sees
  auto login = open(std::move(user), {"", "", code}, client);
  if (!login) refuse();
  return std::move(*login);
}

std::optional<Login> Accounts::open(User user, const Proof& proof, const Client& client) {
  const auto token = newRefreshToken();
  const auto now = nowMicros();
  const auto expires_at = now + std::chrono::microseconds(refresh_lifetime_).count();
  auto answer = SecondFactor::Answer::Right;
  const bool opened = database_.writing([&](database::Connection& connection) {
    // What a code costs must be committed, so nothing is thrown in here. Once it is proved nobody removes the factor
    // before the session is there.
    if (user.second_factor) {
      answer =
          second_factor_.prove(connection, user.id, proof.code, {fmt::format("address:{}", client.address), client});
      if (answer != SecondFactor::Answer::Right) return false;
    }
    // Whoever changed the password, the factor or switched the account off meanwhile has ended this login, too.
    const std::int64_t factor = user.second_factor ? 1 : 0;
    const auto current =
        proof.old_hash.empty()
            ? connection.execute(
                  "UPDATE users SET last_login_at = $1 WHERE id = $2 AND token_version = $3 AND mfa_enabled = $4",
                  {now, user.id, user.token_version, factor})
            : connection.execute(
                  "UPDATE users SET last_login_at = $1, password_hash = $2 WHERE id = $3 AND "
                  "password_hash = $4 AND token_version = $5 AND mfa_enabled = $6",
                  {now, proof.new_hash, user.id, proof.old_hash, user.token_version, factor});
    if (current == 0) return false;
    connection.query("DELETE FROM sessions WHERE user_id = $1 AND expires_at <= $2", {user.id, now});
    // A family has the name of its first token.
    insertSession(connection, token, user.id, token.id, expires_at, client);
    if (user.second_factor) connection.query("UPDATE sessions SET mfa_at = $1 WHERE id = $2", {now, token.id});
    record(connection, fmt::format("user:{}", user.id), "session.login", user.id, client);
    return true;
  });
  SecondFactor::requireRight(answer);
  if (!opened) return std::nullopt;
  user.last_login_at = now;
  return tokensFor(std::move(user), token.id, token.text);
}

void Accounts::stepUp(const Access& access, const std::string& code, const Client& client) {
  const Doer doer{fmt::format("user:{}", access.user), client};
  bool lives = false;
  const auto answer = database_.writing([&](database::Connection& connection) {
    // One transaction: who removes the factor waits for it, and takes the proof back.
    const auto proved = second_factor_.prove(connection, access.user, code, doer);
    if (proved != SecondFactor::Answer::Right) return proved;
    lives = connection.execute(
                "UPDATE sessions SET mfa_at = $1 WHERE id = $2 AND user_id = $3 AND revoked_at IS NULL AND expires_at "
                "> $1 AND EXISTS (SELECT 1 FROM users u WHERE u.id = $3 AND u.mfa_enabled = 1)",
                {nowMicros(), access.session, access.user}) > 0;
    if (lives) accounts::record(connection, keyring_, doer, "session.step_up", access.user);
    return proved;
  });
  SecondFactor::requireRight(answer);
  if (!lives) refuseSession();
}

// A login with a code is older than its session: somebody who has taken the token since did not prove it.
bool Accounts::steppedUpLately(const Access& access) {
  return !database_
              .query("SELECT 1 FROM sessions WHERE id = $1 AND user_id = $2 AND mfa_at > created_at AND mfa_at > $3",
                     {access.session, access.user, nowMicros() - kProofLasts})
              .empty();
}

void Accounts::proveAgain(const Access& access, const Secret& password, const std::string& code, const Client& client) {
  const Doer doer{fmt::format("user:{}", access.user), client};
  if (password.size() > 0) {
    const auto rows = database_.query("SELECT password_hash FROM users WHERE id = $1", {access.user});
    if (!rows.empty() && password.size() <= kLongestPassword && crypto::passwordMatches(password, rows[0].text(0)))
      return;
    database_.write([&](database::Connection& connection) {
      accounts::record(connection, keyring_, doer, "session.prove", access.user, "failure");
    });
    throw Error(Code::Forbidden, "the password is wrong");
  }
  if (!code.empty()) return second_factor_.require(access.user, code, doer);
  if (!steppedUpLately(access))
    throw Error(Code::ProveAgain, "an access token is not enough for that",
                "send your password as `password`, or a code of your second factor as `code`");
}

void Accounts::unlock(const std::string& given, const Doer& doer) {
  database_.write([&](database::Connection& connection) {
    const auto user = lockUser(connection, normalisedEmail(given));
    connection.query("UPDATE users SET mfa_tries = 0, mfa_tries_since = 0, unlocked_at = $1 WHERE id = $2",
                     {nowMicros(), user.id});
    accounts::record(connection, keyring_, doer, "user.unlock", user.id);
  });
}

std::optional<Micros> Accounts::unlockedLately(const std::string& given) {
  const auto email = normalisedEmail(given);
  if (!isAddress(email)) return std::nullopt;
  const auto rows = database_.query("SELECT unlocked_at FROM users WHERE email = $1 AND unlocked_at > $2",
                                    {email, nowMicros() - kUnlockedFor});
  return rows.empty() ? std::nullopt : std::optional(rows[0].integer(0));
}

Login Accounts::tokensFor(User user, const std::string& session, std::string refresh_token) const {
  Login login;
  Access access{user.id, session, user.token_version, 0};
  login.access_token = tokens_.get()->issue(access, nowSeconds());
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
    // Whoever ends sessions of the user waits for the new one, or has ended the old one before.
    const auto rows = connection.query(
        fmt::format("SELECT {}, s.family, s.refresh_digest, s.expires_at FROM sessions s JOIN users u ON u.id = "
                    "s.user_id WHERE s.id = $1{}",
                    kUserColumns, lockingUser(connection)),
        {old->id});
    if (rows.empty() || !crypto::constantTimeEqual(rows[0].text(kUserWidth + 1), old->digest())) return {};
    const auto user = userOf(rows[0]);
    const auto& family = rows[0].text(kUserWidth);
    const auto expires_at = rows[0].integer(kUserWidth + 2);
    if (!user.active || expires_at <= now) return {};
    const auto rotated = connection.execute(
        "UPDATE sessions SET rotated_at = $1, last_used_at = $1 WHERE id = $2 AND rotated_at IS NULL AND revoked_at IS "
        "NULL",
        {now, old->id});
    if (rotated == 0) {
      if (connection.query("SELECT 1 FROM sessions WHERE id = $1 AND revoked_at IS NULL", {old->id}).empty()) return {};
      // It was used before: one of its two holders is a thief.
      accounts::endSession(connection, user.id, family);
      record(connection, fmt::format("address:{}", client.address), "session.reuse", user.id, client, "denied");
      return {};
    }
    insertSession(connection, next, user.id, family, expires_at, client);
    return {user, family};
  });
  if (!outcome.user) refuseRefresh();
  return tokensFor(*outcome.user, outcome.family, next.text);
}

Access Accounts::readAccessToken(std::string_view token) const { return tokens_.get()->read(token, nowSeconds()); }

}  // namespace aragora::accounts
