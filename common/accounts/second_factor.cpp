#include "common/accounts/second_factor.h"

#include "common/accounts/totp.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::accounts {

namespace {
constexpr std::size_t kSecretBytes = 20;    // RFC 4226 section 4, R6
constexpr std::size_t kRecoveryBytes = 10;  // 80 bits
constexpr std::size_t kLongestCode = 64;

std::string contextOf(const std::string& user_id) { return fmt::format("users|mfa_secret|{}", user_id); }

std::vector<Secret> newCodes() {
  std::vector<Secret> codes;
  for (std::size_t i = 0; i < SecondFactor::kRecoveryCodes; ++i) {
    const auto text = lower(toBase32(crypto::randomBytes(kRecoveryBytes)));
    codes.emplace_back(
        fmt::format("{}-{}-{}-{}", text.substr(0, 4), text.substr(4, 4), text.substr(8, 4), text.substr(12)));
  }
  return codes;
}

// However it was typed.
std::string plain(const std::string& code) { return replaceAll(replaceAll(lower(code), "-", ""), " ", ""); }
}  // namespace

std::string SecondFactor::digestOf(const std::string& user_id, const std::string& code, const std::string& key) const {
  return toHex(crypto::hmacSha256(key, fmt::format("recovery|{}|{}", user_id, plain(code))));
}

std::string SecondFactor::storedForm(const std::string& user_id, const std::vector<Secret>& codes) const {
  json::array digests;
  for (const auto& code : codes) digests.emplace_back(digestOf(user_id, code.reveal(), keyring_.tokenKey()));
  return toJson(json::object{{"key", keyring_.activeId()}, {"digests", std::move(digests)}});
}

SecondFactor::Enrolment SecondFactor::enrol(const std::string& user_id, const Doer& doer) {
  const Secret secret(crypto::randomBytes(kSecretBytes));
  const auto sealed = keyring_.seal(secret.reveal(), contextOf(user_id));
  const auto user = database_.writing([&](database::Connection& connection) {
    auto found = requireUserById(connection, user_id);
    if (connection.execute("UPDATE users SET mfa_secret = $1, updated_at = $2 WHERE id = $3 AND mfa_enabled = 0",
                           {sealed, nowMicros(), user_id}) == 0)
      throw Error(Code::Conflict, fmt::format("{} has a second factor already", found.email), "remove it first");
    record(connection, keyring_, doer, "mfa.enrol", user_id);
    return found;
  });
  return {Secret(toBase32(secret.reveal())), otpauthUri(secret.reveal(), user.email)};
}

bool SecondFactor::takeStep(database::Connection& connection, const std::string& user_id, const std::string& sealed,
                            const std::string& code) {
  const Secret secret(keyring_.open(sealed, contextOf(user_id)));
  const auto step = totpStepOf(secret.reveal(), plain(code), nowMicros() / 1'000'000);
  return step && connection.execute("UPDATE users SET mfa_last_step = $1 WHERE id = $2 AND mfa_last_step < $1",
                                    {*step, user_id}) == 1;
}

bool SecondFactor::takeRecoveryCode(database::Connection& connection, const std::string& user_id,
                                    const std::string& stored, const std::string& code) {
  const auto value = tryParseJson(stored);
  if (!value || !value->is_object()) return false;
  const auto& object = value->get_object();
  const auto key = keyring_.tokenKey(jsonTextOr(object, "key", ""));
  const auto* digests = object.if_contains("digests");
  if (!key || digests == nullptr || !digests->is_array()) return false;
  const auto given = digestOf(user_id, code, *key);
  json::array left;
  for (const auto& digest : digests->get_array()) {
    if (!digest.is_string() || !crypto::constantTimeEqual(std::string(digest.get_string()), given))
      left.push_back(digest);
  }
  if (left.size() == digests->get_array().size()) return false;
  auto rest = object;
  rest["digests"] = std::move(left);
  // Whoever was first has changed what is stored.
  return connection.execute("UPDATE users SET recovery_codes = $1 WHERE id = $2 AND recovery_codes = $3",
                            {toJson(rest), user_id, stored}) == 1;
}

// What is counted and spent must be committed, so nothing is thrown in here.
SecondFactor::Answer SecondFactor::look(database::Connection& connection, const std::string& user_id,
                                        const std::string& code, bool confirming, const Doer& doer) {
  const auto now = nowMicros();
  const auto counted = connection.execute(
      "UPDATE users SET mfa_tries = CASE WHEN mfa_tries_since < $1 THEN 1 ELSE mfa_tries + 1 END, mfa_tries_since = "
      "CASE WHEN mfa_tries_since < $1 THEN $2 ELSE mfa_tries_since END WHERE id = $3 AND (mfa_tries < $4 OR "
      "mfa_tries_since < $1)",
      {now - kTriesCount, now, user_id, kMostTries});
  if (counted == 0) return Answer::TooMany;
  const auto rows =
      connection.query("SELECT mfa_secret, mfa_enabled, recovery_codes FROM users WHERE id = $1", {user_id});
  if (rows.empty() || rows[0].isNull(0) || (rows[0].integer(1) != 0) == confirming) return Answer::NoFactor;
  bool right = code.size() <= kLongestCode && takeStep(connection, user_id, rows[0].text(0), code);
  if (!right && !confirming && code.size() <= kLongestCode &&
      takeRecoveryCode(connection, user_id, rows[0].text(2), code)) {
    right = true;
    record(connection, keyring_, doer, "mfa.recovery_code", user_id);
  }
  if (!right) {
    record(connection, keyring_, doer, "mfa.code", user_id, "failure");
    return Answer::Wrong;
  }
  connection.query("UPDATE users SET mfa_tries = 0, mfa_tries_since = 0 WHERE id = $1", {user_id});
  return Answer::Right;
}

namespace {
[[noreturn]] void refuseCode() {
  throw Error(Code::Unauthorized, "the code is wrong, too old or was used before",
              "wait for the next one, or use a recovery code");
}

[[noreturn]] void refuseMore() {
  throw Error(Code::RateLimited, fmt::format("more than {} wrong codes in five minutes", SecondFactor::kMostTries),
              "wait, or ask an administrator: aragora user unlock")
      .with(json::object{{"retry_after", SecondFactor::kTriesCount / 1'000'000}});
}

[[noreturn]] void noFactor(bool confirming) {
  if (confirming) throw Error(Code::Conflict, "there is no second factor that waits for its first code", "enrol first");
  throw Error(Code::Conflict, "this account has no second factor", "enrol one: POST /api/auth/mfa/setup");
}
}  // namespace

std::vector<Secret> SecondFactor::confirm(const std::string& user_id, const std::string& code, const Doer& doer) {
  auto codes = newCodes();
  const auto answer = database_.writing([&](database::Connection& connection) {
    const auto found = look(connection, user_id, code, true, doer);
    if (found != Answer::Right) return found;
    connection.query("UPDATE users SET mfa_enabled = 1, recovery_codes = $1, updated_at = $2 WHERE id = $3",
                     {storedForm(user_id, codes), nowMicros(), user_id});
    record(connection, keyring_, doer, "mfa.confirm", user_id);
    return found;
  });
  if (answer == Answer::TooMany) refuseMore();
  if (answer == Answer::NoFactor) noFactor(true);
  if (answer == Answer::Wrong) refuseCode();
  return codes;
}

SecondFactor::Answer SecondFactor::prove(database::Connection& connection, const std::string& user_id,
                                         const std::string& code, const Doer& doer) {
  return look(connection, user_id, code, false, doer);
}

void SecondFactor::requireRight(Answer answer) {
  if (answer == Answer::TooMany) refuseMore();
  if (answer == Answer::NoFactor) noFactor(false);
  if (answer == Answer::Wrong) refuseCode();
}

void SecondFactor::require(const std::string& user_id, const std::string& code, const Doer& doer) {
  requireRight(
      database_.writing([&](database::Connection& connection) { return prove(connection, user_id, code, doer); }));
}

std::vector<Secret> SecondFactor::renewCodes(const std::string& user_id, const Doer& doer,
                                             const std::optional<std::string>& code) {
  auto codes = newCodes();
  requireRight(database_.writing([&](database::Connection& connection) {
    const auto proved = code ? prove(connection, user_id, *code, doer) : Answer::Right;
    if (proved != Answer::Right) return proved;
    if (connection.execute("UPDATE users SET recovery_codes = $1, updated_at = $2 WHERE id = $3 AND mfa_enabled = 1",
                           {storedForm(user_id, codes), nowMicros(), user_id}) == 0)
      return Answer::NoFactor;
    record(connection, keyring_, doer, "mfa.recovery_codes", user_id);
    return Answer::Right;
  }));
  return codes;
}

std::size_t SecondFactor::codesLeft(const std::string& user_id) {
  const auto rows = database_.query("SELECT recovery_codes FROM users WHERE id = $1", {user_id});
  const auto value = rows.empty() ? std::nullopt : tryParseJson(rows[0].text(0));
  const auto* digests = value && value->is_object() ? value->get_object().if_contains("digests") : nullptr;
  return digests != nullptr && digests->is_array() ? digests->get_array().size() : 0;
}

// Sessions that proved it have proved nothing any more.
void SecondFactor::remove(const std::string& user_id, const Doer& doer, const std::optional<std::string>& code) {
  requireRight(database_.writing([&](database::Connection& connection) {
    lockUserById(connection, user_id);
    const auto proved = code ? prove(connection, user_id, *code, doer) : Answer::Right;
    if (proved != Answer::Right) return proved;
    connection.query(
        "UPDATE users SET mfa_secret = NULL, mfa_enabled = 0, recovery_codes = NULL, updated_at = $1 WHERE id = $2",
        {nowMicros(), user_id});
    connection.query("UPDATE sessions SET mfa_at = NULL WHERE user_id = $1", {user_id});
    record(connection, keyring_, doer, "mfa.remove", user_id);
    return proved;
  }));
}

}  // namespace aragora::accounts
