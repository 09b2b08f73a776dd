#include "common/crypto/aead.h"

#include <openssl/evp.h>

#include "common/crypto/hash.h"
#include "common/crypto/openssl.h"

namespace aragora::crypto {

namespace {
constexpr std::size_t kTag = 16;
constexpr std::size_t kNonce = 12;

using Cipher = Owned<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;

std::string seal(const EVP_CIPHER* cipher, std::string_view key, std::string_view nonce, std::string_view plaintext,
                 std::string_view associated_data) {
  const Cipher context(EVP_CIPHER_CTX_new());
  std::string out(plaintext.size() + kTag, '\0');
  int length = 0;
  require(context && EVP_EncryptInit_ex(context.get(), cipher, nullptr, asBytes(key), asBytes(nonce)) == 1, "encrypt");
  if (!associated_data.empty()) {
    require(EVP_EncryptUpdate(context.get(), nullptr, &length, asBytes(associated_data),
                              static_cast<int>(associated_data.size())) == 1,
            "encrypt");
  }
  require(EVP_EncryptUpdate(context.get(), asBytes(out), &length, asBytes(plaintext),
                            static_cast<int>(plaintext.size())) == 1,
          "encrypt");
  int tail = 0;
  require(EVP_EncryptFinal_ex(context.get(), asBytes(out) + length, &tail) == 1, "encrypt");
  require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTag, asBytes(out) + plaintext.size()) == 1,
          "encrypt");
  return out;
}

std::optional<std::string> open(const EVP_CIPHER* cipher, std::string_view key, std::string_view nonce,
                                std::string_view sealed, std::string_view associated_data) {
  if (sealed.size() < kTag) return std::nullopt;
  const auto body = sealed.substr(0, sealed.size() - kTag);
  std::string tag(sealed.substr(body.size()));
  const Cipher context(EVP_CIPHER_CTX_new());
  std::string out(body.size(), '\0');
  int length = 0;
  require(context && EVP_DecryptInit_ex(context.get(), cipher, nullptr, asBytes(key), asBytes(nonce)) == 1, "decrypt");
  if (!associated_data.empty()) {
    require(EVP_DecryptUpdate(context.get(), nullptr, &length, asBytes(associated_data),
                              static_cast<int>(associated_data.size())) == 1,
            "decrypt");
  }
  require(EVP_DecryptUpdate(context.get(), asBytes(out), &length, asBytes(body), static_cast<int>(body.size())) == 1,
          "decrypt");
  require(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTag, tag.data()) == 1, "decrypt");
  int tail = 0;
  unsigned char none[16];
  if (EVP_DecryptFinal_ex(context.get(), none, &tail) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return out;
}
}  // namespace

std::string sealAesGcm(std::string_view key32, std::string_view plaintext, std::string_view associated_data) {
  ARAGORA_CHECK(key32.size() == 32);
  const auto nonce = randomBytes(kNonce);
  return nonce + seal(EVP_aes_256_gcm(), key32, nonce, plaintext, associated_data);
}

std::optional<std::string> openAesGcm(std::string_view key32, std::string_view sealed,
                                      std::string_view associated_data) {
  ARAGORA_CHECK(key32.size() == 32);
  if (sealed.size() < kNonce + kTag) return std::nullopt;
  return open(EVP_aes_256_gcm(), key32, sealed.substr(0, kNonce), sealed.substr(kNonce), associated_data);
}

std::string sealChaCha(std::string_view key32, std::string_view nonce12, std::string_view plaintext) {
  ARAGORA_CHECK(key32.size() == 32 && nonce12.size() == kNonce);
  return seal(EVP_chacha20_poly1305(), key32, nonce12, plaintext, {});
}

std::optional<std::string> openChaCha(std::string_view key32, std::string_view nonce12, std::string_view sealed) {
  ARAGORA_CHECK(key32.size() == 32 && nonce12.size() == kNonce);
  return open(EVP_chacha20_poly1305(), key32, nonce12, sealed, {});
}

}  // namespace aragora::crypto
