// Random bytes, SHA-256 (FIPS 180-4), HMAC (RFC 2104) and HKDF (RFC 5869), on OpenSSL. Binary strings in and out.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/base/secret.h"

namespace aragora::crypto {

std::string randomBytes(std::size_t count);
std::string sha256(std::string_view bytes);
std::string sha256Hex(std::string_view bytes);
enum class Digest { Sha1, Sha256, Sha512 };  // the first only where a standard asks for it (RFC 6238)
std::string hmac(Digest digest, std::string_view key, std::string_view bytes);
std::string hmacSha256(std::string_view key, std::string_view bytes);
std::string hkdfSha256(std::string_view key, std::string_view salt, std::string_view info, std::size_t length);
bool constantTimeEqual(std::string_view a, std::string_view b);

// «64 chars, sha256:ab12cd34»: what may be shown of a secret.
std::string fingerprint(const Secret& secret);

// Streaming SHA-256. One owner.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  void update(std::string_view bytes);
  std::string finish();  // 32 bytes; the object is spent afterwards
  std::string finishHex();
  std::string soFarHex() const;  // of what was given until now; more can follow

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Streaming MD5, only for Content-MD5 (RFC 1864), which some stores ask for: it protects nothing. One owner.
class Md5 {
 public:
  Md5();
  ~Md5();
  void update(std::string_view bytes);
  std::string finish();  // 16 bytes

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace aragora::crypto
