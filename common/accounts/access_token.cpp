#include "common/accounts/access_token.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::accounts {

namespace {
constexpr std::string_view kIssuer = "aragora";
constexpr std::string_view kAudience = "aragora-api";
constexpr std::string_view kType = "at+jwt";
constexpr std::size_t kLimit = 8192;
constexpr std::int64_t kSkew = 30;

[[noreturn]] void refuse() {
  throw Error(Code::Unauthorized, "the access token is not valid", "log in again: POST /api/auth/login");
}

json::object objectOf(std::string_view part) {
  const auto bytes = fromBase64Url(part);
  const auto value = bytes ? tryParseJson(*bytes) : std::nullopt;
  if (!value || !value->is_object()) refuse();
  return value->get_object();
}
}  // namespace

AccessTokens::AccessTokens(Secret secret, std::chrono::seconds lifetime)
    : secret_(std::move(secret)),
      lifetime_(lifetime),
      key_id_(toHex(crypto::hkdfSha256(secret_.reveal(), "", "aragora access token key id v1", 4))) {}

std::string AccessTokens::signature(std::string_view signed_part) const {
  return crypto::hmacSha256(secret_.reveal(), signed_part);
}

std::string AccessTokens::issue(Access& access, std::int64_t now) const {
  ARAGORA_CHECK(!secret_.empty());
  access.expires_at = now + lifetime_.count();
  const json::object header{{"alg", "HS256"}, {"typ", kType}, {"kid", key_id_}};
  const json::object claims{{"iss", kIssuer},     {"aud", kAudience},
                            {"sub", access.user}, {"sid", access.session},
                            {"jti", newUlid()},   {"ver", access.token_version},
                            {"iat", now},         {"exp", access.expires_at}};
  auto token = toBase64Url(toJson(header)) + "." + toBase64Url(toJson(claims));
  token += "." + toBase64Url(signature(token));
  return token;
}

bool AccessTokens::looksLikeOne(std::string_view token) { return std::count(token.begin(), token.end(), '.') == 2; }

Access AccessTokens::read(std::string_view token, std::int64_t now) const {
  // Without a secret everybody could sign.
  if (secret_.empty() || token.size() > kLimit || !looksLikeOne(token)) refuse();
  const auto first = token.find('.');
  const auto last = token.rfind('.');
  // Nothing is parsed that was not signed here.
  const auto given = fromBase64Url(token.substr(last + 1));
  if (!given || !crypto::constantTimeEqual(*given, signature(token.substr(0, last)))) refuse();
  const auto header = objectOf(token.substr(0, first));
  if (jsonTextOr(header, "alg", "") != "HS256" || jsonTextOr(header, "typ", "") != kType ||
      jsonTextOr(header, "kid", "") != key_id_ || header.contains("crit"))
    refuse();
  const auto claims = objectOf(token.substr(first + 1, last - first - 1));
  if (jsonTextOr(claims, "iss", "") != kIssuer || jsonTextOr(claims, "aud", "") != kAudience) refuse();
  const auto issued = jsonInteger(claims, "iat");
  const auto expires = jsonInteger(claims, "exp");
  const auto version = jsonInteger(claims, "ver");
  Access access{jsonTextOr(claims, "sub", ""), jsonTextOr(claims, "sid", ""), version.value_or(0), expires.value_or(0)};
  if (!issued || !expires || !version || access.user.empty() || access.session.empty()) refuse();
  if (*issued > now + kSkew || *expires <= now - kSkew) refuse();
  return access;
}

}  // namespace aragora::accounts
