#include <gtest/gtest.h>

#include "common/accounts/access_token.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/crypto/password.h"

namespace aragora::accounts {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;
const Secret kSecret("a secret of thirty-two characters!");

std::string issued(std::int64_t now = kNow) {
  Access access{"01USER", "01SESSION", 3, 0};
  return AccessTokens(kSecret, std::chrono::hours(24)).issue(access, now);
}

Access read(const std::string& token, std::int64_t now = kNow, const Secret& secret = kSecret) {
  return AccessTokens(secret, std::chrono::hours(24)).read(token, now);
}

// A token with any header and claims, signed with the right secret.
std::string forged(const json::object& header, const json::object& claims) {
  const auto part = toBase64Url(toJson(header)) + "." + toBase64Url(toJson(claims));
  return part + "." + toBase64Url(crypto::hmacSha256(kSecret.reveal(), part));
}

json::object partOf(const std::string& token, std::size_t index) {
  return parseJson(*fromBase64Url(split(token, '.')[index]), "part").get_object();
}

TEST(AccessToken, SaysWhatItWasIssuedFor) {
  const auto access = read(issued());
  EXPECT_EQ(access.user, "01USER");
  EXPECT_EQ(access.session, "01SESSION");
  EXPECT_EQ(access.token_version, 3);
  EXPECT_EQ(access.expires_at, kNow + 86'400);
}

// RFC 7515, appendix A.1: the signature by an independent hand.
TEST(AccessToken, SignsAsTheStandardDoes) {
  const auto key =
      fromBase64Url("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
  ASSERT_TRUE(key);
  EXPECT_EQ(
      toBase64Url(crypto::hmacSha256(
          *key,
          "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
          "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ")),
      "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

TEST(AccessToken, EveryChangedCharacterIsFound) {
  const auto good = issued();
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const char other : {'A', 'z', '.', '=', ' ', '+'}) {
      if (good[i] == other) continue;
      auto bad = good;
      bad[i] = other;
      EXPECT_THROW(read(bad), Error) << i << other;
    }
  }
  for (const auto& bad : {std::string(), std::string("."), std::string(".."), good + "=", good + ".", " " + good,
                          good.substr(0, good.rfind('.') + 1), std::string(9000, 'a')})
    EXPECT_THROW(read(bad), Error) << bad;
}

TEST(AccessToken, AnotherSecretOrAlgorithmIsRefused) {
  const auto good = issued();
  EXPECT_THROW(read(good, kNow, Secret("another secret of 32 characters!")), Error);
  const auto claims = partOf(good, 1);
  auto header = partOf(good, 0);
  EXPECT_NO_THROW(read(forged(header, claims)));
  for (const auto* algorithm : {"none", "None", "HS384", "RS256", "hs256", ""}) {
    header["alg"] = algorithm;
    EXPECT_THROW(read(forged(header, claims)), Error) << algorithm;
  }
  for (const auto& [name, value] :
       {std::pair<const char*, const char*>{"typ", "JWT"}, {"kid", "00000000"}, {"crit", "exp"}}) {
    header = partOf(good, 0);
    header[name] = value;
    EXPECT_THROW(read(forged(header, claims)), Error) << name;
  }
}

TEST(AccessToken, WithoutASecretNothingIsValid) {
  const auto part = issued().substr(0, issued().rfind('.'));
  EXPECT_THROW(read(part + "." + toBase64Url(crypto::hmacSha256("", part)), kNow, Secret()), Error);
}

TEST(AccessToken, EveryClaimIsNeededAndMustBeOurs) {
  const auto good = issued();
  const auto header = partOf(good, 0);
  for (const auto* name : {"iss", "aud", "sub", "sid", "ver", "iat", "exp"}) {
    auto claims = partOf(good, 1);
    claims.erase(name);
    EXPECT_THROW(read(forged(header, claims)), Error) << name;
    claims[name] = "other";
    if (std::string_view(name) == "sub" || std::string_view(name) == "sid") continue;
    EXPECT_THROW(read(forged(header, claims)), Error) << name;
  }
}

TEST(AccessToken, LivesFromItsIssueToItsExpiryGiveOrTakeTheSkew) {
  const auto token = issued();
  EXPECT_NO_THROW(read(token, kNow + 86'400 + 29));
  EXPECT_THROW(read(token, kNow + 86'400 + 30), Error);
  EXPECT_NO_THROW(read(token, kNow - 30));
  EXPECT_THROW(read(token, kNow - 31), Error);
}

TEST(Password, IsHashedWithArgon2idAndAFreshSalt) {
  const Secret password("correct horse battery staple");
  const auto hash = crypto::hashPassword(password);
  EXPECT_TRUE(startsWith(hash, "$argon2id$v=19$m=19456,t=2,p=1$")) << hash;
  EXPECT_NE(hash, crypto::hashPassword(password));
  EXPECT_TRUE(crypto::passwordMatches(password, hash));
  EXPECT_FALSE(crypto::passwordMatches(Secret("correct horse battery stapl"), hash));
  EXPECT_FALSE(crypto::passwordMatches(password, ""));
  EXPECT_FALSE(crypto::passwordMatches(password, std::string(500, 'x')));
  EXPECT_FALSE(crypto::passwordNeedsRehash(hash));
  // Made by the argon2 program with m = 4096, t = 1.
  const std::string weaker = "$argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$";
  EXPECT_TRUE(crypto::passwordNeedsRehash(weaker));
}

// As the reference implementation's program computes them (argon2 of Debian 12). The example of RFC 9106 section 5.3
// has four lanes, a secret and associated data, which libsodium does not have.
TEST(Password, IsWhatTheReferenceComputes) {
  const std::string salt = "$c29tZXNhbHQ$";
  for (const auto& [password, hash] : {
           std::pair<const char*, std::string>{
               "password", "$argon2id$v=19$m=256,t=2,p=1" + salt + "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
           {"password", "$argon2id$v=19$m=65536,t=1,p=1" + salt + "9qWtwbpyPd3vm1rB1GThgPzZ3/ydHL92zKL+15XZypg"},
           {"password", "$argon2id$v=19$m=65536,t=4,p=1" + salt + "kCXUjmjvc5XMqQedpMTsOv+zyJEf5PhtGiUghW9jFyw"},
           {"differentpassword",
            "$argon2id$v=19$m=65536,t=2,p=1" + salt + "C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94"},
           {"password", "$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw"},
       }) {
    EXPECT_TRUE(crypto::passwordMatches(Secret(password), hash)) << hash;
    EXPECT_FALSE(crypto::passwordMatches(Secret(std::string(password) + "x"), hash)) << hash;
  }
}

TEST(Base64Url, HasOneTextForEachContent) {
  EXPECT_EQ(toBase64Url("\xfb\xff"), "-_8");
  EXPECT_EQ(fromBase64Url("-_8"), "\xfb\xff");
  for (const auto* bad : {"+/8", "-_8=", "-_9", "-_", "a", "a b"}) {
    EXPECT_FALSE(fromBase64Url(bad)) << bad;
  }
}

}  // namespace
}  // namespace aragora::accounts
