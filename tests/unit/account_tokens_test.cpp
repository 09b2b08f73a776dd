// What accounts show and store as text: API keys, codes by time, what a changed secret still reads.
#include <gtest/gtest.h>

#include "common/accounts/access_token.h"
#include "common/accounts/api_key.h"
#include "common/accounts/permissions.h"
#include "common/accounts/totp.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::accounts {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;

// RFC 6238, appendix B: eight digits, a seed of 20, 32 and 64 bytes.
struct TotpVector {
  std::int64_t time;
  std::string_view sha1, sha256, sha512;
};
constexpr TotpVector kVectors[] = {
    {59, "94287082", "46119246", "90693936"},         {1111111109, "07081804", "68084774", "25091201"},
    {1111111111, "14050471", "67062674", "99943326"}, {1234567890, "89005924", "91819424", "93441116"},
    {2000000000, "69279037", "90698825", "38618901"}, {20000000000, "65353130", "77737706", "47863826"}};

std::string seed(std::size_t length) {
  std::string text;
  while (text.size() < length) text += "1234567890";
  return text.substr(0, length);
}

TEST(Totp, HoldsTheEighteenVectorsOfTheStandard) {
  for (const auto& vector : kVectors) {
    const auto step = vector.time / kTotpStep;
    EXPECT_EQ(totpCode(seed(20), step, 8, crypto::Digest::Sha1), vector.sha1) << vector.time;
    EXPECT_EQ(totpCode(seed(32), step, 8, crypto::Digest::Sha256), vector.sha256) << vector.time;
    EXPECT_EQ(totpCode(seed(64), step, 8, crypto::Digest::Sha512), vector.sha512) << vector.time;
  }
}

TEST(Totp, TakesTheStepBeforeThisOneAndTheNext) {
  const auto step = kNow / kTotpStep;
  for (std::int64_t away = -3; away <= 3; ++away) {
    const auto found = totpStepOf(seed(20), totpCode(seed(20), step + away), kNow);
    if (std::abs(away) <= 1)
      EXPECT_EQ(found, step + away);
    else
      EXPECT_FALSE(found) << away;
  }
  for (const auto* wrong : {"", "000000x", "12345", "1234567", "94287082"})
    EXPECT_FALSE(totpStepOf(seed(20), wrong, kNow)) << wrong;
}

// RFC 4648, section 10.
TEST(Base32, HoldsTheVectorsOfTheStandard) {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "MY"},
                                                         {"fo", "MZXQ"},
                                                         {"foo", "MZXW6"},
                                                         {"foob", "MZXW6YQ"},
                                                         {"fooba", "MZXW6YTB"},
                                                         {"foobar", "MZXW6YTBOI"}};
  for (const auto& [bytes, text] : vectors) EXPECT_EQ(toBase32(bytes), text);
  EXPECT_EQ(otpauthUri("12345678901234567890", "ada+x@example.org").reveal(),
            "otpauth://totp/Aragora:ada%2Bx%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Aragora&"
            "algorithm=SHA1&digits=6&period=30");
}

TEST(ApiKeyText, IsWhatItWasMadeAs) {
  const auto key = newApiKey();
  const auto& text = key.whole.reveal();
  EXPECT_EQ(text.size(), 66U);
  EXPECT_TRUE(startsWith(text, "ara_" + key.id + "_"));
  const auto read = parseApiKey(text);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, key.id);
  EXPECT_EQ(read->whole, key.whole);
  EXPECT_NE(newApiKey().whole, key.whole);
}

// Made by an independent hand: python3, zlib.crc32 and base 62 with the digits first.
TEST(ApiKeyText, ItsChecksumIsCrc32InBase62) {
  EXPECT_TRUE(parseApiKey("ara_0123456789ab_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA3DGyiK"));
}

TEST(ApiKeyText, EveryChangedCharacterIsFound) {
  const auto good = newApiKey().whole.reveal();
  int tried = 0;
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (const char other : {'A', 'z', '0', '_', '-', ' ', '+', '\0'}) {
      if (good[i] == other) continue;
      auto bad = good;
      bad[i] = other;
      EXPECT_FALSE(parseApiKey(bad)) << i << other;
      ++tried;
    }
  }
  EXPECT_GT(tried, 400);
  for (const auto& bad : {std::string(), std::string("ara_"), good + "0", good.substr(1), good.substr(0, 65),
                          " " + good, upper(good), std::string(9000, 'a'), "ara_" + std::string(62, '0')})
    EXPECT_FALSE(parseApiKey(bad)) << bad;
}

Secret secretNumber(int number) { return Secret(fmt::format("secret number {} of thirty-two characters", number)); }

TEST(AccessToken, OfThePreviousSecretIsReadAndNoOtherOne) {
  const auto hours = std::chrono::hours(24);
  Access access{"01USER", "01SESSION", 3, 0};
  const auto old = AccessTokens(secretNumber(1), hours).issue(access, kNow);
  const AccessTokens changed(secretNumber(2), hours, secretNumber(1));
  EXPECT_EQ(changed.read(old, kNow).session, "01SESSION");
  const auto fresh = changed.issue(access, kNow);
  EXPECT_EQ(AccessTokens(secretNumber(2), hours).read(fresh, kNow).user, "01USER");
  EXPECT_THROW(AccessTokens(secretNumber(1), hours).read(fresh, kNow), Error) << "the new one signs";
  EXPECT_THROW(AccessTokens(secretNumber(3), hours, secretNumber(2)).read(old, kNow), Error) << "two changes ago";
  EXPECT_THROW(AccessTokens(Secret(), hours, secretNumber(1)).read(old, kNow), Error) << "nor alone";
}

TEST(AccessToken, OneThatWaitsForASecondFactorOpensNothing) {
  const AccessTokens tokens(secretNumber(1), std::chrono::hours(24));
  Access access{"01USER", "01SESSION", 3, 0};
  const auto pending = tokens.issuePending(access, kNow);
  EXPECT_EQ(tokens.readPending(pending, kNow + 300).user, "01USER");
  EXPECT_THROW(tokens.readPending(pending, kNow + 331), Error) << "five minutes";
  EXPECT_THROW(tokens.read(pending, kNow), Error);
  EXPECT_THROW(tokens.readPending(tokens.issue(access, kNow), kNow), Error);
}

TEST(Scopes, NarrowWhatTheRoleMay) {
  const auto with = [](Role role, Scopes scopes) {
    return Principal{Caller::User, "U", role, {}, KeyUse{"k", std::move(scopes), 0}};
  };
  const auto reader = with(Role::Admin, {Scope::Read});
  EXPECT_TRUE(permits(reader, Permission::ReadDebates));
  EXPECT_TRUE(permits(reader, Permission::Public));
  for (const auto refused : {Permission::RunDebates, Permission::OwnAccount, Permission::OwnCredentials,
                             Permission::Administer, Permission::ReadMetrics})
    EXPECT_FALSE(permits(reader, refused)) << permissionName(refused);
  const auto all = with(Role::Admin, {Scope::Read, Scope::Write, Scope::Account});
  EXPECT_FALSE(permits(all, Permission::OwnCredentials)) << "a key makes no keys";
  EXPECT_FALSE(permits(all, Permission::Administer));
  EXPECT_FALSE(permits(with(Role::Viewer, {Scope::Write}), Permission::RunDebates)) << "never more than its owner";
  EXPECT_EQ(scopesText(parseScopes("write read what")), "read write");
  const std::vector<std::string> unknown{"root"};
  EXPECT_THROW(requireScopes(unknown), Error);
}

TEST(Owners, ChangeWhatIsTheirsAndAdministratorsEverything) {
  const auto user = [](Role role) { return Principal{Caller::User, "U", role, Access{}}; };
  EXPECT_TRUE(mayChange(user(Role::Member), "user:U"));
  EXPECT_FALSE(mayChange(user(Role::Member), "user:V"));
  EXPECT_FALSE(mayChange(user(Role::Member), ""));
  EXPECT_FALSE(mayChange(user(Role::Viewer), "user:U"));
  EXPECT_TRUE(mayChange(user(Role::Admin), "user:V"));
  EXPECT_TRUE(mayChange({.caller = Caller::Operator}, "user:V"));
  EXPECT_FALSE(mayChange({}, ""));
}

}  // namespace
}  // namespace aragora::accounts
