// The deployment's encryption key and what is derived from it, each use under its own label (HKDF-SHA256), so that no
// two uses share a key. Immutable once it knows the kept keys, any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/crypto/age.h"

namespace aragora::crypto {

class Keyring {
 public:
  // `active_hex` is 64 hex digits (ARAGORA_ENCRYPTION_KEY); `previous_hex` are keys that still open old data.
  // Throws Error(Config) when one is not 64 hex digits.
  explicit Keyring(const Secret& active_hex, const std::vector<Secret>& previous_hex = {});

  // What a machine needs that makes backups and must not be able to read them: the public recipient, the key that signs
  // and the value that is compared with the database's. Everything else throws Error(Config) there.
  Secret backupWriter() const;
  static Keyring fromBackupWriter(const Secret& text);  // Error(Config) for what backupWriter() did not make
  bool opensBackups() const { return !keys_.front().bytes.empty(); }

  // Short public name of the active key: first 8 hex digits of a keyed digest.
  const std::string& activeId() const { return keys_.front().id; }

  // «v1.<key id>.<base64>»; `context` (table|column|row) must be the same when opening.
  std::string seal(std::string_view plaintext, std::string_view context) const;
  // Throws Error(Damaged) naming the context when no key of the ring opens it.
  std::string open(std::string_view sealed, std::string_view context) const;

  // A value to be stored in the database and compared at start, so that a wrong key is found before data is touched.
  std::string checkValue() const { return keys_.front().check_value; }
  // Of the active or a previous key: a database that was used with a previous one goes on with the active one.
  bool knows(std::string_view check_value) const;
  // Whether the active or a previous key has this id.
  bool has(std::string_view key_id) const;
  std::vector<std::string> ids() const;  // the active one first

  // What outlives a key that is gone: it verifies what was signed, and opens nothing.
  struct Derived {
    Secret audit;
    Secret event;
    Secret token;
  };
  Derived derivedOf(std::string_view key_id) const;  // of one of ids()
  void keep(std::string key_id, Derived keys);

  std::string auditKey() const { return derive(kAuditLabel); }
  // Of the key with this id, active or previous, for what was signed before a rotation.
  std::optional<std::string> auditKey(std::string_view key_id) const { return keyOf(key_id, kAuditLabel); }
  // The same for the chains of a debate's events.
  std::string eventKey() const { return derive(kEventLabel); }
  std::optional<std::string> eventKey(std::string_view key_id) const { return keyOf(key_id, kEventLabel); }
  // What API keys, recovery codes and one-time tokens are stored under: a digest that nobody can compute who has the
  // database alone. Of the active key, or of the one that a row names.
  std::string tokenKey() const { return derive(kTokenLabel); }
  std::optional<std::string> tokenKey(std::string_view key_id) const { return keyOf(key_id, kTokenLabel); }
  // What parts of a debate's answers are sealed under on their way to another instance: of the active key, or of the
  // one with that id while it is in the ring.
  std::string speechKey(std::string_view debate_id) const { return speechKey(debate_id, activeId()).value(); }
  std::optional<std::string> speechKey(std::string_view debate_id, std::string_view key_id) const;
  // Makes a digest of what holds secrets useless for guessing them.
  std::string configurationSalt() const;
  const std::string& backupRecipient() const { return keys_.front().recipient; }  // new backups are sealed for it
  std::vector<AgeIdentity> backupIdentities() const;  // what opens backups: of the active and the previous keys
  AgeIdentity backupIdentity() const { return backupIdentities().front(); }
  std::string signManifest(std::string_view bytes) const;
  // 32 bytes, for those who verify elsewhere; of the active key, and of all.
  std::string signingPublicKey() const { return signingPublicKeys().front(); }
  std::vector<std::string> signingPublicKeys() const;
  // The id of the key that signed it; nullopt when it was none of these.
  std::optional<std::string> signerOf(std::string_view bytes, std::string_view signature) const;
  bool verifyManifest(std::string_view bytes, std::string_view signature) const;

 private:
  struct Key {
    std::string id;
    std::string check_value;
    Secret bytes;  // empty with a backup writer's
    Secret signing_seed;
    std::string recipient;
  };
  static constexpr std::string_view kAuditLabel = "aragora audit chain v1";
  static constexpr std::string_view kEventLabel = "aragora event chain v1";
  static constexpr std::string_view kTokenLabel = "aragora token digests v1";
  Keyring() = default;
  const Secret& activeBytes() const;
  std::string derive(std::string_view label) const;
  std::optional<std::string> keyOf(std::string_view key_id, std::string_view label) const;
  std::vector<Key> keys_;
  std::map<std::string, Derived, std::less<>> kept_;
};

}  // namespace aragora::crypto
