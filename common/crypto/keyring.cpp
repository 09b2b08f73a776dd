#include "common/crypto/keyring.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/aead.h"
#include "common/crypto/curve.h"
#include "common/crypto/hash.h"

namespace aragora::crypto {

namespace {
constexpr std::string_view kIdentityLabel = "aragora backup identity v1";
constexpr std::string_view kSigningLabel = "aragora manifest sign v1";
constexpr std::string_view kSpeechLabel = "aragora speech v1";
constexpr std::string_view kWriterPrefix = "ARAGORA-BACKUP-WRITER-1.";
}  // namespace

Keyring::Keyring(const Secret& active_hex, const std::vector<Secret>& previous_hex) {
  std::vector<Secret> all{active_hex};
  all.insert(all.end(), previous_hex.begin(), previous_hex.end());
  for (const auto& hex : all) {
    auto bytes = fromHex(hex.reveal());
    if (!bytes || bytes->size() != 32) {
      throw Error(Code::Config,
                  fmt::format("the encryption key has {} that are not 64 hex digits", counted(hex.size(), "character")),
                  "generate one with: openssl rand -hex 32");
    }
    const auto check = toHex(hkdfSha256(*bytes, "", "aragora key check v1", 16));
    const auto identity = ageIdentity(Secret(hkdfSha256(*bytes, "", kIdentityLabel, 32)));
    Secret seed(hkdfSha256(*bytes, "", kSigningLabel, 32));
    keys_.push_back({check.substr(0, 8), check, Secret(std::move(*bytes)), std::move(seed), identity.recipient});
  }
}

Secret Keyring::backupWriter() const {
  const auto& key = keys_.front();
  return Secret(fmt::format("{}{}.{}.{}", kWriterPrefix, key.check_value, toHex(key.recipient),
                            toHex(key.signing_seed.reveal())));
}

Keyring Keyring::fromBackupWriter(const Secret& text) {
  const auto& whole = text.reveal();
  const auto parts =
      startsWith(whole, kWriterPrefix) ? split(whole.substr(kWriterPrefix.size()), '.') : std::vector<std::string>();
  const auto recipient = parts.size() == 3 ? fromHex(parts[1]) : std::nullopt;
  auto seed = parts.size() == 3 ? fromHex(parts[2]) : std::nullopt;
  if (!recipient || recipient->size() != 32 || !seed || seed->size() != 32 || parts[0].size() != 32 ||
      !fromHex(parts[0]))
    throw Error(Code::Config,
                fmt::format("the key that writes backups ({}) cannot be read", counted(whole.size(), "character")),
                "print it where the encryption key is: aragora key backup-writer");
  Keyring ring;
  ring.keys_.push_back({parts[0].substr(0, 8), parts[0], Secret(), Secret(std::move(*seed)), *recipient});
  return ring;
}

const Secret& Keyring::activeBytes() const {
  if (!opensBackups())
    throw Error(Code::Config, "this machine has only the key that writes backups",
                "do it where ARAGORA_ENCRYPTION_KEY is configured");
  return keys_.front().bytes;
}

std::string Keyring::derive(std::string_view label) const { return hkdfSha256(activeBytes().reveal(), "", label, 32); }

bool Keyring::knows(std::string_view check_value) const {
  return std::any_of(keys_.begin(), keys_.end(), [&](const Key& key) { return key.check_value == check_value; });
}

std::vector<std::string> Keyring::ids() const {
  std::vector<std::string> ids;
  for (const auto& key : keys_) ids.push_back(key.id);
  return ids;
}

bool Keyring::has(std::string_view key_id) const {
  return std::any_of(keys_.begin(), keys_.end(), [&](const Key& key) { return key.id == key_id; });
}

std::optional<std::string> Keyring::keyOf(std::string_view key_id, std::string_view label) const {
  for (const auto& key : keys_) {
    if (key.id == key_id && !key.bytes.empty()) return hkdfSha256(key.bytes.reveal(), "", label, 32);
  }
  const auto kept = kept_.find(key_id);
  if (kept == kept_.end()) return std::nullopt;
  const auto& keys = kept->second;
  return (label == kAuditLabel ? keys.audit : label == kEventLabel ? keys.event : keys.token).reveal();
}

std::optional<std::string> Keyring::speechKey(std::string_view debate_id, std::string_view key_id) const {
  for (const auto& key : keys_) {
    if (key.id == key_id && !key.bytes.empty()) return hkdfSha256(key.bytes.reveal(), debate_id, kSpeechLabel, 32);
  }
  return std::nullopt;
}

Keyring::Derived Keyring::derivedOf(std::string_view key_id) const {
  const auto of = [&](std::string_view label) { return Secret(keyOf(key_id, label).value()); };
  return {of(kAuditLabel), of(kEventLabel), of(kTokenLabel)};
}

void Keyring::keep(std::string key_id, Derived keys) { kept_.insert_or_assign(std::move(key_id), std::move(keys)); }

std::string Keyring::configurationSalt() const {
  return hkdfSha256(keys_.front().signing_seed.reveal(), "", "aragora configuration digest v1", 32);
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

std::vector<AgeIdentity> Keyring::backupIdentities() const {
  activeBytes();
  std::vector<AgeIdentity> identities;
  identities.reserve(keys_.size());
  for (const auto& key : keys_)
    identities.push_back(ageIdentity(Secret(hkdfSha256(key.bytes.reveal(), "", kIdentityLabel, 32))));
  return identities;
}

std::string Keyring::signManifest(std::string_view bytes) const {
  return ed25519Sign(keys_.front().signing_seed.reveal(), bytes);
}

std::vector<std::string> Keyring::signingPublicKeys() const {
  std::vector<std::string> all;
  for (const auto& key : keys_) all.push_back(ed25519PublicKey(key.signing_seed.reveal()));
  return all;
}

std::optional<std::string> Keyring::signerOf(std::string_view bytes, std::string_view signature) const {
  for (const auto& key : keys_) {
    if (ed25519Verify(ed25519PublicKey(key.signing_seed.reveal()), bytes, signature)) return key.id;
  }
  return std::nullopt;
}

bool Keyring::verifyManifest(std::string_view bytes, std::string_view signature) const {
  return signerOf(bytes, signature).has_value();
}

}  // namespace aragora::crypto
