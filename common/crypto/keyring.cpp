#include "common/crypto/keyring.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/aead.h"
#include "common/crypto/curve.h"
#include "common/crypto/hash.h"

namespace aragora::crypto {

Keyring::Keyring(const Secret& active_hex, const std::vector<Secret>& previous_hex) {
  std::vector<Secret> all{active_hex};
  all.insert(all.end(), previous_hex.begin(), previous_hex.end());
  for (const auto& hex : all) {
    auto bytes = fromHex(hex.reveal());
    if (!bytes || bytes->size() != 32) {
      throw Error(Code::Config,
                  fmt::format("the encryption key has {} characters that are not 64 hex digits", hex.size()),
                  "generate one with: openssl rand -hex 32");
    }
    const auto check = toHex(hkdfSha256(*bytes, "", "aragora key check v1", 16));
    keys_.push_back({check.substr(0, 8), check, Secret(std::move(*bytes))});
  }
}

std::string Keyring::derive(std::string_view label) const {
  return hkdfSha256(keys_.front().bytes.reveal(), "", label, 32);
}

std::string Keyring::seal(std::string_view plaintext, std::string_view context) const {
  return fmt::format("v1.{}.{}", activeId(), toBase64(sealAesGcm(derive("aragora rows v1"), plaintext, context)));
}

std::string Keyring::open(std::string_view sealed, std::string_view context) const {
  const auto parts = split(sealed, '.');
  if (parts.size() == 3 && parts[0] == "v1") {
    for (const auto& key : keys_) {
      if (key.id != parts[1]) continue;
      const auto bytes = fromBase64(parts[2]);
      auto plaintext =
          bytes ? openAesGcm(hkdfSha256(key.bytes.reveal(), "", "aragora rows v1", 32), *bytes, context) : std::nullopt;
      if (plaintext) return *plaintext;
      throw Error(Code::Damaged, fmt::format("the sealed value {} does not open: it was altered or moved", context));
    }
    throw Error(Code::Damaged,
                fmt::format("the sealed value {} needs key {}, which is not in the keyring", context, parts[1]),
                "add the old key to encryption.previous_keys");
  }
  throw Error(Code::Damaged, fmt::format("the sealed value {} is malformed", context));
}

AgeIdentity Keyring::backupIdentity() const { return backupIdentities().front(); }

std::vector<AgeIdentity> Keyring::backupIdentities() const {
  std::vector<AgeIdentity> identities;
  for (const auto& key : keys_)
    identities.push_back(ageIdentity(Secret(hkdfSha256(key.bytes.reveal(), "", "aragora backup identity v1", 32))));
  return identities;
}

std::string Keyring::signManifest(std::string_view bytes) const {
  return ed25519Sign(derive("aragora manifest sign v1"), bytes);
}

bool Keyring::verifyManifest(std::string_view bytes, std::string_view signature) const {
  for (const auto& key : keys_) {
    const auto seed = hkdfSha256(key.bytes.reveal(), "", "aragora manifest sign v1", 32);
    if (ed25519Verify(ed25519PublicKey(seed), bytes, signature)) return true;
  }
  return false;
}

}  // namespace aragora::crypto
