#include "common/accounts/access_token.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/json_names.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::accounts {

// What a token of one kind says of itself: it is good for nothing else (RFC 8725 section 3.11).
struct AccessTokens::Kind {
  std::string_view type;
  std::string_view audience;
  static constexpr Kind access() { return {"at+jwt", "aragora-api"}; }  // RFC 9068
  static constexpr Kind pending() { return {"mfa+jwt", "aragora-mfa"}; }
};

namespace {
constexpr std::string_view kIssuer = "aragora";
constexpr std::size_t kLimit = 8192;
constexpr std::int64_t kSkew = 30;
constexpr std::int64_t kPendingLifetime = 300;
constexpr std::int64_t kLongestLife = 168 * 3600;  // that the setting allows

[[noreturn]] void refuse() {
  throw Error(Code::Unauthorized, "the access token is not valid", "log in again: POST /api/auth/login");
}

json::object objectOf(std::string_view part) {
  const auto bytes = fromBase64Url(part);
  const auto value = bytes ? tryParseJson(*bytes) : std::nullopt;
  if (!value || !value->is_object() || repeatedName(*bytes)) refuse();
  return value->get_object();
}
}  // namespace

AccessTokens::AccessTokens(Secret secret, std::chrono::seconds lifetime, Secret previous) : lifetime_(lifetime) {
  // Without a secret everybody could sign.
  if (secret.empty()) return;
  keys_.push_back(keyOf(std::move(secret)));
  if (!previous.empty()) keys_.push_back(keyOf(std::move(previous)));
}

AccessTokens::Key AccessTokens::keyOf(Secret secret) {
  auto id = toHex(crypto::hkdfSha256(secret.reveal(), "", "aragora access token key id v1", 4));
  return {std::move(secret), std::move(id)};
}

std::string AccessTokens::sign(const Kind& kind, json::object claims) const {
  ARAGORA_CHECK(!keys_.empty());
  const auto& key = keys_.front();
  const json::object header{{"alg", "HS256"}, {"typ", kind.type}, {"kid", key.id}};
  claims["iss"] = kIssuer;
  claims["aud"] = kind.audience;
  claims["jti"] = newUlid();
  auto token = toBase64Url(toJson(header)) + "." + toBase64Url(toJson(claims));
  return token + "." + toBase64Url(crypto::hmacSha256(key.secret.reveal(), token));
}

std::string AccessTokens::issue(Access& access, std::int64_t now) const {
  access.expires_at = now + lifetime_.count();
  return sign(Kind::access(), {{"sub", access.user},
                               {"sid", access.session},
                               {"ver", access.token_version},
                               {"iat", now},
                               {"exp", access.expires_at}});
}

std::string AccessTokens::issuePending(const Access& access, std::int64_t now) const {
  return sign(Kind::pending(),
              {{"sub", access.user}, {"ver", access.token_version}, {"iat", now}, {"exp", now + kPendingLifetime}});
}

bool AccessTokens::looksLikeOne(std::string_view token) { return std::count(token.begin(), token.end(), '.') == 2; }

// The claims of a token of ours that is of this kind and not expired.
json::object AccessTokens::open(const Kind& kind, std::string_view token, std::int64_t now) const {
  if (token.size() > kLimit || !looksLikeOne(token)) refuse();
  const auto first = token.find('.');
  const auto last = token.rfind('.');
  // Nothing is parsed that was not signed here.
  const auto given = fromBase64Url(token.substr(last + 1));
  const auto signer = std::find_if(keys_.begin(), keys_.end(), [&](const Key& key) {
    return given && crypto::constantTimeEqual(*given, crypto::hmacSha256(key.secret.reveal(), token.substr(0, last)));
  });
  if (signer == keys_.end()) refuse();
  const auto header = objectOf(token.substr(0, first));
  if (jsonTextOr(header, "alg", "") != "HS256" || jsonTextOr(header, "typ", "") != kind.type ||
      jsonTextOr(header, "kid", "") != signer->id || header.contains("crit"))
    refuse();
  auto claims = objectOf(token.substr(first + 1, last - first - 1));
  if (jsonTextOr(claims, "iss", "") != kIssuer || jsonTextOr(claims, "aud", "") != kind.audience) refuse();
  const auto issued = jsonInteger(claims, "iat");
  const auto expires = jsonInteger(claims, "exp");
  if (!issued || !expires || !jsonInteger(claims, "ver") || jsonTextOr(claims, "sub", "").empty()) refuse();
  if (*issued > now + kSkew || *expires <= now - kSkew || *expires - *issued > kLongestLife) refuse();
  // Ours have a name, and no hour before which they are not good (RFC 7519 section 4.1).
  if (jsonTextOr(claims, "jti", "").empty() || claims.contains("nbf")) refuse();
  return claims;
}

Access AccessTokens::read(std::string_view token, std::int64_t now) const {
  const auto claims = open(Kind::access(), token, now);
  Access access{jsonTextOr(claims, "sub", ""), jsonTextOr(claims, "sid", ""), jsonIntegerOr(claims, "ver", 0),
                jsonIntegerOr(claims, "exp", 0)};
  if (access.session.empty()) refuse();
  return access;
}

Access AccessTokens::readPending(std::string_view token, std::int64_t now) const {
  const auto claims = open(Kind::pending(), token, now);
  return {jsonTextOr(claims, "sub", ""), "", jsonIntegerOr(claims, "ver", 0), jsonIntegerOr(claims, "exp", 0)};
}

}  // namespace aragora::accounts
