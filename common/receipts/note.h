// Signed notes and the checkpoints of a log (C2SP: signed-note, tlog-checkpoint), signed with Ed25519 (RFC 8032). A
// checkpoint is three lines (origin, size, root in base 64), an empty line and a line a signature:
// «— NAME base64(4 bytes of the key's id, signature)». Any verifier that knows these formats reads ours. Pure, any
// thread.
#pragma once

#include <optional>

#include "common/receipts/tree.h"

namespace aragora::receipts {

// A public key, and whose it is: the origin of the log.
struct PublicKey {
  std::string name;
  std::string bytes;  // 32

  // First four bytes of SHA-256(name, newline, 1, key), in hexadecimal: what signatures name their key by.
  std::string id() const;
  // «NAME+ID+base64(1, key)», as other tools take it.
  std::string text() const;
  bool operator==(const PublicKey&) const = default;
};
// That form, or the key alone: 64 hex digits, 44 of base 64, or PEM (SubjectPublicKeyInfo, RFC 8410) as openssl writes
// it; then it has no name. Error(Config) for anything else, without its text.
PublicKey parsePublicKey(std::string_view text, std::string_view what);
std::string toPem(const PublicKey& key);

struct Checkpoint {
  std::string origin;
  std::int64_t size = 0;
  Hash root;
};
std::string text(const Checkpoint& checkpoint);

struct Signature {
  std::string name;
  std::string key_id;  // 8 hex digits
  std::string bytes;   // 64
};
struct SignedCheckpoint {
  Checkpoint checkpoint;
  std::string text;  // what is signed
  std::vector<Signature> signatures;

  // By this key: nullopt where it did not sign at all, false where its signature does not hold.
  std::optional<bool> signedBy(const PublicKey& key) const;
};

std::string signCheckpoint(const Checkpoint& checkpoint, const PublicKey& key, std::string_view seed32);
// Error(Damaged) naming `what` and the line.
SignedCheckpoint parseCheckpoint(std::string_view note, std::string_view what);

}  // namespace aragora::receipts
