// The age v1 file format (C2SP age specification), X25519 recipients only: header with one stanza per recipient and a
// MAC, then ChaCha20-Poly1305 chunks of 64 KiB with a final flag. Files open with the stock `age` program.
// Writer and Reader stream: memory is two chunks. The Reader releases a chunk only after its tag held, and a stream
// counts as complete only after `finish()` has seen the final chunk. One owner each, not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/file.h"
#include "common/base/secret.h"

namespace aragora::crypto {

struct AgeIdentity {
  Secret secret;          // 32 bytes
  std::string recipient;  // 32 bytes, public
};

AgeIdentity ageIdentity(Secret secret32);
// The header of an age file again for other recipients (32-byte keys); the payload behind it stays as it is.
struct AgeHeader {
  std::string bytes;         // the new one
  std::size_t old_size = 0;  // of the one that it takes the place of
};
// `start` is the beginning of the file, 64 KiB or all of it. Throws Error(Damaged).
AgeHeader rewrapAgeHeader(std::string_view start, const std::vector<AgeIdentity>& identities,
                          const std::vector<std::string>& recipients);
std::string formatAgeRecipient(std::string_view public32);   // age1…
std::string formatAgeIdentity(const AgeIdentity& identity);  // AGE-SECRET-KEY-1…
// Every identity of a file as age-keygen writes it: a line each, comments with #. Throws Error(Config) when there is
// none, or a line is anything else; names the file, never the line.
std::vector<AgeIdentity> parseAgeIdentities(const Secret& text, const std::string& file);
// Throws Error(Config) for anything that is not a bech32 age1… text.
std::string parseAgeRecipient(std::string_view text);

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
  // The identities must outlive it; any of them may open the file.
  AgeReader(const std::vector<AgeIdentity>& identities, ByteSink sink);
  // Ciphertext in any pieces. Throws Error(Damaged) with the reason.
  void write(std::string_view ciphertext);
  void finish();

 private:
  bool readHeader();
  void openChunk(std::string_view chunk, bool last);
  const std::vector<AgeIdentity>& identities_;
  ByteSink sink_;
  std::string buffer_;
  std::string key_;
  std::uint64_t counter_ = 0;
  bool any_chunk_ = false;
};

}  // namespace aragora::crypto
