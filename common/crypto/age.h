// The age v1 file format (C2SP age specification), X25519 recipients only: header with one stanza per recipient and a
// MAC, then ChaCha20-Poly1305 chunks of 64 KiB with a final flag. Files open with the stock `age` program.
// Writer and Reader stream: memory is two chunks. The Reader releases a chunk only after its tag held, and a stream
// counts as complete only after `finish()` has seen the final chunk. One owner each, not thread-safe.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/secret.h"

namespace aragora::crypto {

struct AgeIdentity {
  Secret secret;          // 32 bytes
  std::string recipient;  // 32 bytes, public
};

AgeIdentity ageIdentity(Secret secret32);
std::string formatAgeRecipient(std::string_view public32);   // age1…
std::string formatAgeIdentity(const AgeIdentity& identity);  // AGE-SECRET-KEY-1…
// Throws Error(Config) for anything that is not a bech32 age1… text.
std::string parseAgeRecipient(std::string_view text);

using ByteSink = std::function<void(std::string_view)>;

class AgeWriter {
 public:
  // `recipients` are 32-byte public keys, at least one.
  AgeWriter(const std::vector<std::string>& recipients, ByteSink sink);
  void write(std::string_view plaintext);
  void finish();

 private:
  void sealChunk(std::string_view chunk, bool last);
  ByteSink sink_;
  std::string key_;
  std::string buffer_;
  std::uint64_t counter_ = 0;
};

class AgeReader {
 public:
  AgeReader(const AgeIdentity& identity, ByteSink sink);
  // Ciphertext in any pieces. Throws Error(Damaged) with the reason.
  void write(std::string_view ciphertext);
  void finish();

 private:
  bool readHeader();
  void openChunk(std::string_view chunk, bool last);
  const AgeIdentity& identity_;
  ByteSink sink_;
  std::string buffer_;
  std::string key_;
  std::uint64_t counter_ = 0;
  bool any_chunk_ = false;
};

}  // namespace aragora::crypto
