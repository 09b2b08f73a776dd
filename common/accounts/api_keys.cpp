#include "common/accounts/api_keys.h"

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::accounts {

namespace {
constexpr Micros kUseIsNoted = 60'000'000;
constexpr std::string_view kColumns =
    "k.id, k.user_id, u.email, k.name, k.scopes, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.successor";

ApiKey keyOf(const database::Row& row) {
  return {row.text(0),
          row.text(1),
          row.text(2),
          row.text(3),
          parseScopes(row.text(4)),
          row.integer(5),
          row.integer(6),
          row.optionalInteger(7),
          row.optionalInteger(8),
          row.text(9)};
}

[[noreturn]] void refuse() {
  throw Error(Code::Unauthorized, "the API key is not valid", "see your keys: GET /api/auth/api-keys");
}

[[noreturn]] void noSuchKey(const std::string& id) {
  throw Error(Code::NotFound, fmt::format("there is no API key {}", printable(id, 40)), "see: aragora user key list");
}

[[noreturn]] void hasEnded(const ApiKey& key) {
  throw Error(Code::Conflict, fmt::format("the API key {} has ended already", key.id));
}

Micros micros(std::chrono::hours hours) { return std::chrono::duration_cast<std::chrono::microseconds>(hours).count(); }

void requireSensible(const NewApiKey& wanted) {
  requireName(wanted.name);
  if (wanted.scopes.empty()) throw Error(Code::Validation, "a key without a scope may do nothing");
  if (wanted.lifetime < std::chrono::hours(1) || wanted.lifetime > ApiKeys::kLongest)
    throw Error(Code::Validation, fmt::format("a key lives one day or more, and at most {}",
                                              counted(ApiKeys::kLongest.count() / 24, "day")));
}

void requireRoom(database::Connection& connection, const User& user) {
  const auto live =
      connection.query("SELECT count(*) FROM api_keys WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2",
                       {user.id, nowMicros()});
  if (live[0].integer(0) >= static_cast<std::int64_t>(ApiKeys::kMost))
    throw Error(Code::Conflict, fmt::format("{} has {} already", user.email, counted(ApiKeys::kMost, "API key")),
                "revoke those that nobody uses");
}

void recordKey(database::Connection& connection, const crypto::Keyring& keyring, const Doer& doer,
               const std::string& action, const ApiKey& key) {
  record(connection, keyring, doer, action, key.user, "success",
         {{"key", key.id}, {"scopes", scopesText(key.scopes)}, {"expires_at", toIso(key.expires_at)}});
}
}  // namespace

std::optional<std::string> ApiKeys::digestOf(const ApiKeyText& text, const std::string& key_id) const {
  const auto key = keyring_.tokenKey(key_id);
  if (!key) return std::nullopt;
  return toHex(crypto::hmacSha256(*key, "api_key|" + text.whole.reveal()));
}

ApiKeys::Made ApiKeys::insert(database::Connection& connection, const User& user, const NewApiKey& wanted,
                              const ApiKeyText& text) {
  const auto now = nowMicros();
  ApiKey key{text.id, user.id, user.email, wanted.name, wanted.scopes, now, now + micros(wanted.lifetime), {}, {}, {}};
  connection.query(
      "INSERT INTO api_keys (id, user_id, name, prefix, digest, key_id, scopes, created_at, expires_at) VALUES ($1, "
      "$2, $3, $4, $5, $6, $7, $8, $9)",
      {key.id, key.user, key.name, std::string(kApiKeyPrefix) + key.id, *digestOf(text, keyring_.activeId()),
       keyring_.activeId(), scopesText(key.scopes), key.created_at, key.expires_at});
  return {std::move(key), text.whole};
}

ApiKeys::Made ApiKeys::create(const std::string& user_id, const NewApiKey& wanted, const Doer& doer) {
  requireSensible(wanted);
  const auto text = newApiKey();
  return database_.writing([&](database::Connection& connection) {
    const auto user = lockUserById(connection, user_id);  // of two at once the second counts the first
    requireRoom(connection, user);
    auto made = insert(connection, user, wanted, text);
    recordKey(connection, keyring_, doer, "key.create", made.key);
    return made;
  });
}

std::vector<ApiKey> ApiKeys::list(const std::optional<std::string>& user_id, const Page& page) {
  database::Values values{page.limit, page.offset};
  if (user_id) values.emplace_back(*user_id);
  std::vector<ApiKey> keys;
  for (const auto& row : database_.query(
           fmt::format("SELECT {} FROM api_keys k JOIN users u ON u.id = k.user_id {} ORDER BY k.created_at DESC, k.id "
                       "LIMIT $1 OFFSET $2",
                       kColumns, user_id ? "WHERE k.user_id = $3" : ""),
           values))
    keys.push_back(keyOf(row));
  return keys;
}

std::int64_t ApiKeys::count(const std::optional<std::string>& user_id) {
  const auto rows = user_id ? database_.query("SELECT count(*) FROM api_keys WHERE user_id = $1", {*user_id})
                            : database_.query("SELECT count(*) FROM api_keys");
  return rows[0].integer(0);
}

ApiKey ApiKeys::requireLiveRow(database::Connection& connection, const std::string& id,
                               const std::optional<std::string>& owner) {
  const auto rows = connection.query(
      fmt::format("SELECT {} FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1", kColumns), {id});
  if (rows.empty()) noSuchKey(id);
  auto key = keyOf(rows[0]);
  if (owner && key.user != *owner) noSuchKey(id);
  if (!key.live(nowMicros())) hasEnded(key);
  return key;
}

ApiKeys::Made ApiKeys::rotate(const std::string& id, const std::optional<std::string>& owner,
                              std::chrono::hours overlap, const Doer& doer) {
  if (overlap < std::chrono::hours(0) || overlap > kLongestOverlap)
    throw Error(Code::Validation, fmt::format("the overlap is 0 to {} hours", kLongestOverlap.count()));
  const auto text = newApiKey();
  return database_.writing([&](database::Connection& connection) {
    const auto old = requireLiveRow(connection, id, owner);
    const auto user = lockUserById(connection, old.user);  // before the key, which goes with them
    const auto now = nowMicros();
    const auto until = std::min(old.expires_at, now + micros(overlap));
    const std::chrono::microseconds lived(old.expires_at - old.created_at);
    // One statement decides which of two rotations at once it was.
    if (connection.execute("UPDATE api_keys SET successor = $1, expires_at = $2 WHERE id = $3 AND successor IS NULL "
                           "AND revoked_at IS NULL",
                           {text.id, until, old.id}) == 0)
      throw Error(Code::Conflict, fmt::format("the API key {} was rotated before", old.id), "rotate its successor");
    auto made = insert(connection, user, {old.name, old.scopes, std::chrono::ceil<std::chrono::hours>(lived)}, text);
    record(connection, keyring_, doer, "key.rotate", old.user, "success",
           {{"key", old.id}, {"successor", text.id}, {"until", toIso(until)}});
    return made;
  });
}

void ApiKeys::revoke(const std::string& id, const std::optional<std::string>& owner, const Doer& doer) {
  database_.write([&](database::Connection& connection) {
    const auto key = requireLiveRow(connection, id, owner);
    if (connection.execute("UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL",
                           {nowMicros(), key.id}) == 0)
      hasEnded(key);
    recordKey(connection, keyring_, doer, "key.revoke", key);
  });
}

ApiKeys::Holder ApiKeys::requireLive(const ApiKeyText& given) {
  const auto rows = database_.query(
      fmt::format("SELECT {}, k.digest, k.key_id, k.scopes, k.expires_at, k.revoked_at, k.last_used_at FROM api_keys k "
                  "JOIN users u ON u.id = k.user_id WHERE k.id = $1",
                  kUserColumns),
      {given.id});
  // An unknown id costs the comparison, too.
  const auto key_id = rows.empty() ? keyring_.activeId() : rows[0].text(kUserWidth + 1);
  const auto expected = digestOf(given, key_id);
  const auto stored = rows.empty() ? std::string(64, '0') : rows[0].text(kUserWidth);
  if (!expected || !crypto::constantTimeEqual(*expected, stored) || rows.empty()) refuse();
  const auto& row = rows[0];
  Holder holder{userOf(row), {given.id, parseScopes(row.text(kUserWidth + 2)), row.integer(kUserWidth + 3)}};
  if (!holder.user.active || !row.isNull(kUserWidth + 4) || holder.use.expires_at <= nowMicros()) refuse();
  noteUse(given, row.optionalInteger(kUserWidth + 5), key_id != keyring_.activeId());
  return holder;
}

// Once a minute, and goes over to the active encryption key by the way. Nobody is refused because it cannot be written.
void ApiKeys::noteUse(const ApiKeyText& text, std::optional<Micros> last_used, bool old_digest) {
  const auto now = nowMicros();
  if (last_used && now - *last_used < kUseIsNoted && !old_digest) return;
  try {
    database_.writeAll({{"UPDATE api_keys SET last_used_at = $1, digest = $2, key_id = $3 WHERE id = $4",
                         {now, *digestOf(text, keyring_.activeId()), keyring_.activeId(), text.id}}});
  } catch (const Error& error) {
    log::debug("the last use of API key {} was not noted: {}", text.id, error.what());
  }
}

ApiKeys::Holder ApiKeys::requireLiveById(const std::string& id) {
  const auto rows = database_.query(
      fmt::format("SELECT {}, k.scopes, k.expires_at FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1 "
                  "AND k.revoked_at IS NULL AND k.expires_at > $2 AND u.is_active = 1",
                  kUserColumns),
      {id, nowMicros()});
  if (rows.empty()) refuse();
  return {userOf(rows[0]), {id, parseScopes(rows[0].text(kUserWidth)), rows[0].integer(kUserWidth + 1)}};
}

std::set<std::string> ApiKeys::ended(const std::vector<std::string>& ids) {
  std::set<std::string> left(ids.begin(), ids.end());
  constexpr std::size_t kBatch = 200;
  for (std::size_t begin = 0; begin < ids.size(); begin += kBatch) {
    database::Values values{nowMicros()};
    std::string places;
    for (std::size_t i = begin; i < std::min(ids.size(), begin + kBatch); ++i) {
      values.emplace_back(ids[i]);
      places += fmt::format("{}${}", places.empty() ? "" : ", ", values.size());
    }
    for (const auto& row : database_.query(
             fmt::format("SELECT k.id FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.revoked_at IS NULL AND "
                         "k.expires_at > $1 AND u.is_active = 1 AND k.id IN ({})",
                         places),
             values))
      left.erase(row.text(0));
  }
  return left;
}

}  // namespace aragora::accounts
