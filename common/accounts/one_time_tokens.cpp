#include "common/accounts/one_time_tokens.h"

#include "common/accounts/api_key.h"
#include "common/base/names.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::accounts {

namespace {
constexpr Names<TokenKind, 3> kKinds = {
    {{TokenKind::Ticket, "ticket"}, {TokenKind::Reset, "reset"}, {TokenKind::Setup, "setup"}}};
constexpr std::size_t kIdLength = 12;
constexpr std::size_t kLength = kOneTimePrefix.size() + kIdLength + 1 + 43;

std::string digestOf(const std::string& key, TokenKind kind, std::string_view text) {
  return toHex(crypto::hmacSha256(key, fmt::format("{}|{}", nameIn(kKinds, kind), text)));
}

std::optional<std::string> idOf(std::string_view text) {
  if (text.size() != kLength || !meantAsOneTimeToken(text)) return std::nullopt;
  const auto id = text.substr(kOneTimePrefix.size(), kIdLength);
  if (!isTokenId(id) || text[kOneTimePrefix.size() + kIdLength] != '_') return std::nullopt;
  return std::string(id);
}
}  // namespace

bool meantAsOneTimeToken(std::string_view text) { return startsWith(text, kOneTimePrefix); }

Secret OneTimeTokens::issue(database::Connection& connection, TokenKind kind, const std::string& user,
                            const json::object& subject, std::chrono::seconds lifetime) const {
  const auto now = nowMicros();
  const auto id = randomTokenId();
  Secret text(fmt::format("{}{}_{}", kOneTimePrefix, id, toBase64Url(crypto::randomBytes(32))));
  connection.query("DELETE FROM one_time_tokens WHERE expires_at <= $1", {now});
  connection.query(
      "INSERT INTO one_time_tokens (id, kind, digest, key_id, user_id, subject, created_at, expires_at) VALUES ($1, "
      "$2, $3, $4, $5, $6, $7, $8)",
      {id, std::string(nameIn(kKinds, kind)), digestOf(keyring_.tokenKey(), kind, text.reveal()), keyring_.activeId(),
       user.empty() ? database::Value{} : database::Value{user}, toJson(subject), now,
       now + std::chrono::microseconds(lifetime).count()});
  return text;
}

std::optional<OneTimeTokens::Taken> OneTimeTokens::look(database::Connection& connection, TokenKind kind,
                                                        std::string_view text) const {
  const auto id = idOf(text);
  if (!id) return std::nullopt;
  const auto rows = connection.query(
      "SELECT digest, key_id, user_id, subject FROM one_time_tokens WHERE id = $1 AND kind = $2 AND expires_at > $3",
      {*id, std::string(nameIn(kKinds, kind)), nowMicros()});
  const auto key = rows.empty() ? std::nullopt : keyring_.tokenKey(rows[0].text(1));
  if (!key || !crypto::constantTimeEqual(digestOf(*key, kind, text), rows[0].text(0))) return std::nullopt;
  return Taken{rows[0].text(2), parseJson(rows[0].text(3), "what a token stands for").as_object()};
}

std::optional<OneTimeTokens::Taken> OneTimeTokens::take(database::Connection& connection, TokenKind kind,
                                                        std::string_view text) const {
  auto taken = look(connection, kind, text);
  if (!taken || connection.execute("DELETE FROM one_time_tokens WHERE id = $1", {*idOf(text)}) == 0)
    return std::nullopt;
  return taken;
}

}  // namespace aragora::accounts
