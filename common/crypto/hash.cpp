#include "common/crypto/hash.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/openssl.h"

namespace aragora::crypto {

std::string randomBytes(std::size_t count) {
  std::string bytes(count, '\0');
  require(RAND_bytes(asBytes(bytes), static_cast<int>(count)) == 1, "RAND_bytes");
  return bytes;
}

struct Sha256::State {
  Owned<EVP_MD_CTX, EVP_MD_CTX_free> context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  require(EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr) == 1, "SHA-256");
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(std::string_view bytes) {
  require(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1, "SHA-256");
}

std::string Sha256::finish() {
  std::string digest(32, '\0');
  require(EVP_DigestFinal_ex(state_->context.get(), asBytes(digest), nullptr) == 1, "SHA-256");
  return digest;
}

std::string Sha256::finishHex() { return toHex(finish()); }

std::string Sha256::soFarHex() const {
  Sha256 copy;
  require(EVP_MD_CTX_copy_ex(copy.state_->context.get(), state_->context.get()) == 1, "SHA-256");
  return copy.finishHex();
}

struct Md5::State {
  Owned<EVP_MD_CTX, EVP_MD_CTX_free> context{EVP_MD_CTX_new()};
};

Md5::Md5() : state_(std::make_unique<State>()) {
  require(EVP_DigestInit_ex(state_->context.get(), EVP_md5(), nullptr) == 1, "MD5");
}
Md5::~Md5() = default;

void Md5::update(std::string_view bytes) {
  require(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1, "MD5");
}

std::string Md5::finish() {
  std::string digest(16, '\0');
  require(EVP_DigestFinal_ex(state_->context.get(), asBytes(digest), nullptr) == 1, "MD5");
  return digest;
}

std::string sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string sha256Hex(std::string_view bytes) { return toHex(sha256(bytes)); }

std::string hmac(Digest digest, std::string_view key, std::string_view bytes) {
  const auto* const algorithm = digest == Digest::Sha1     ? EVP_sha1()
                                : digest == Digest::Sha256 ? EVP_sha256()
                                                           : EVP_sha512();
  std::string result(EVP_MAX_MD_SIZE, '\0');
  unsigned length = 0;
  require(HMAC(algorithm, key.data(), static_cast<int>(key.size()), asBytes(bytes), bytes.size(), asBytes(result),
               &length) != nullptr,
          "HMAC");
  result.resize(length);
  return result;
}

std::string hmacSha256(std::string_view key, std::string_view bytes) { return hmac(Digest::Sha256, key, bytes); }

std::string hkdfSha256(std::string_view key, std::string_view salt, std::string_view info, std::size_t length) {
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr));
  std::string result(length, '\0');
  std::size_t produced = length;
  require(context && EVP_PKEY_derive_init(context.get()) == 1 &&
              EVP_PKEY_CTX_set_hkdf_md(context.get(), EVP_sha256()) == 1 &&
              EVP_PKEY_CTX_set1_hkdf_salt(context.get(), asBytes(salt), static_cast<int>(salt.size())) == 1 &&
              EVP_PKEY_CTX_set1_hkdf_key(context.get(), asBytes(key), static_cast<int>(key.size())) == 1 &&
              EVP_PKEY_CTX_add1_hkdf_info(context.get(), asBytes(info), static_cast<int>(info.size())) == 1 &&
              EVP_PKEY_derive(context.get(), asBytes(result), &produced) == 1,
          "HKDF");
  return result;
}

bool constantTimeEqual(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string fingerprint(const Secret& secret) {
  return fmt::format("«{} chars, sha256:{}»", secret.size(), sha256Hex(secret.reveal()).substr(0, 8));
}

}  // namespace aragora::crypto
