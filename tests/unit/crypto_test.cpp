#include <gtest/gtest.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/aead.h"
#include "common/crypto/age.h"
#include "common/crypto/curve.h"
#include "common/crypto/hash.h"
#include "common/crypto/keyring.h"

namespace aragora::crypto {
namespace {

std::string hex(const char* text) { return *fromHex(text); }

TEST(Hash, Sha256OfFips180Example) {
  EXPECT_EQ(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hash, HmacOfRfc4231Case2) {
  EXPECT_EQ(toHex(hmacSha256("Jefe", "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Hash, HkdfOfRfc5869Case1) {
  EXPECT_EQ(
      toHex(hkdfSha256(std::string(22, '\x0b'), hex("000102030405060708090a0b0c"), hex("f0f1f2f3f4f5f6f7f8f9"), 42)),
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

TEST(Curve, Ed25519OfRfc8032Test1) {
  const auto seed = hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
  EXPECT_EQ(toHex(ed25519PublicKey(seed)), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  const auto signature = ed25519Sign(seed, "");
  EXPECT_EQ(toHex(signature),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f059"
            "5bbe24655141438e7a100b");
  EXPECT_TRUE(ed25519Verify(ed25519PublicKey(seed), "", signature));
  EXPECT_FALSE(ed25519Verify(ed25519PublicKey(seed), "x", signature));
}

TEST(Curve, X25519OfRfc7748) {
  const auto a = hex("77076d0a7318a57d3c16c17251b26645c6db1da2d18d02bf3b3a1d3e9f1a9d0e");
  const auto a_secret = hex("77076d0a7318a57d3c16c17251b26645d6df4a1c8a5ad0d8fa6dbd6c4d1e9d5c");
  EXPECT_EQ(x25519(a, x25519PublicKey(a_secret)), x25519(a_secret, x25519PublicKey(a)));
  EXPECT_THROW(x25519(a, std::string(32, '\0')), Error);
}

TEST(Aead, SealedTextOpensOnlyUnderItsKeyAndContext) {
  const auto key = randomBytes(32);
  const auto sealed = sealAesGcm(key, "hello", "users|mfa|1");
  EXPECT_EQ(openAesGcm(key, sealed, "users|mfa|1"), "hello");
  EXPECT_FALSE(openAesGcm(key, sealed, "users|mfa|2"));
  EXPECT_FALSE(openAesGcm(randomBytes(32), sealed, "users|mfa|1"));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto broken = sealed;
    broken[i] = static_cast<char>(broken[i] ^ 1);
    EXPECT_FALSE(openAesGcm(key, broken, "users|mfa|1")) << i;
  }
}

std::string ageSeal(const AgeIdentity& identity, std::string_view plain, std::size_t piece) {
  std::string out;
  AgeWriter writer({identity.recipient}, [&](std::string_view bytes) { out += bytes; });
  for (std::size_t at = 0; at < plain.size(); at += piece) writer.write(plain.substr(at, piece));
  writer.finish();
  return out;
}

std::string ageOpen(const AgeIdentity& identity, std::string_view sealed, std::size_t piece) {
  std::string out;
  const std::vector<AgeIdentity> identities{identity};
  AgeReader reader(identities, [&](std::string_view bytes) { out += bytes; });
  for (std::size_t at = 0; at < sealed.size(); at += piece) reader.write(sealed.substr(at, piece));
  reader.finish();
  return out;
}

class AgeSizes : public testing::TestWithParam<std::size_t> {};

TEST_P(AgeSizes, RoundTripInAnyPieces) {
  const auto identity = ageIdentity(Secret(randomBytes(32)));
  const auto plain = randomBytes(GetParam());
  for (const std::size_t piece : {1000, 65536, 1 << 20}) {
    EXPECT_EQ(ageOpen(identity, ageSeal(identity, plain, piece), piece), plain);
  }
}

// Around the 64 KiB chunk, where a final flag set wrongly would show.
INSTANTIATE_TEST_SUITE_P(ChunkEdges, AgeSizes, testing::Values(0, 1, 65535, 65536, 65537, 131072, 200000));

TEST(Age, EveryTruncationAndFlipIsDamage) {
  const auto identity = ageIdentity(Secret(randomBytes(32)));
  const auto sealed = ageSeal(identity, randomBytes(70000), 4096);
  for (std::size_t length = 0; length < sealed.size(); length += 997)
    EXPECT_THROW(ageOpen(identity, sealed.substr(0, length), 4096), Error) << length;
  for (std::size_t at = 0; at < sealed.size(); at += at < 300 ? 1 : 997) {
    auto broken = sealed;
    broken[at] = static_cast<char>(broken[at] ^ 1);
    EXPECT_THROW(ageOpen(identity, broken, 4096), Error) << at;
  }
  EXPECT_THROW(ageOpen(ageIdentity(Secret(randomBytes(32))), sealed, 4096), Error);
}

TEST(Age, RecipientsAreBech32) {
  const auto identity = ageIdentity(Secret(randomBytes(32)));
  const auto text = formatAgeRecipient(identity.recipient);
  EXPECT_EQ(parseAgeRecipient(text), identity.recipient);
  EXPECT_TRUE(startsWith(formatAgeIdentity(identity), "AGE-SECRET-KEY-1"));
  auto broken = text;
  broken.back() = broken.back() == 'q' ? 'p' : 'q';
  EXPECT_THROW(parseAgeRecipient(broken), Error);
  EXPECT_THROW(parseAgeRecipient("age1short"), Error);
}

TEST(Keyring, KeptKeysVerifyAndOpenNothing) {
  const Secret old_key(toHex(randomBytes(32)));
  const Keyring old(old_key);
  Keyring ring(Secret(toHex(randomBytes(32))));
  const auto& id = old.activeId();
  EXPECT_EQ(ring.auditKey(id), std::nullopt);
  ring.keep(id, old.derivedOf(id));
  EXPECT_EQ(ring.auditKey(id), old.auditKey());
  EXPECT_EQ(ring.eventKey(id), old.eventKey());
  EXPECT_EQ(ring.tokenKey(id), old.tokenKey());
  EXPECT_NE(ring.auditKey(), old.auditKey());
  EXPECT_FALSE(ring.has(id));
  EXPECT_THROW(ring.open(old.seal("value", "t|c|1"), "t|c|1"), Error);
  EXPECT_FALSE(ring.verifyManifest("text", old.signManifest("text")));
  EXPECT_EQ(ring.signerOf("text", old.signManifest("text")), std::nullopt);
  EXPECT_EQ(ring.signerOf("text", ring.signManifest("text")), ring.activeId());
  EXPECT_EQ(ring.backupIdentities().size(), 1);
}

TEST(Keyring, PreviousKeysOpenAndNeverSeal) {
  const Secret old_key(std::string(64, 'a'));
  const Secret new_key(toHex(randomBytes(32)));
  const auto sealed = Keyring(old_key).seal("value", "t|c|1");
  const Keyring rotated(new_key, {old_key});
  EXPECT_EQ(rotated.open(sealed, "t|c|1"), "value");
  EXPECT_TRUE(startsWith(rotated.seal("value", "t|c|1"), "v1." + rotated.activeId()));
  EXPECT_THROW(Keyring(new_key).open(sealed, "t|c|1"), Error);
  EXPECT_THROW(rotated.open(sealed, "t|c|2"), Error);
  EXPECT_THROW(Keyring(Secret("not hex")), Error);
}

}  // namespace
}  // namespace aragora::crypto
