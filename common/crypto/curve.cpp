#include "common/crypto/curve.h"

#include <openssl/evp.h>

#include "common/crypto/openssl.h"

namespace aragora::crypto {

namespace {
using Key = Owned<EVP_PKEY, EVP_PKEY_free>;

Key privateKey(int type, std::string_view secret) {
  Key key(EVP_PKEY_new_raw_private_key(type, nullptr, asBytes(secret), secret.size()));
  require(key != nullptr, "private key");
  return key;
}

std::string publicKeyOf(const Key& key) {
  std::string result(32, '\0');
  std::size_t length = result.size();
  require(EVP_PKEY_get_raw_public_key(key.get(), asBytes(result), &length) == 1, "public key");
  return result;
}
}  // namespace

std::string x25519PublicKey(std::string_view secret32) { return publicKeyOf(privateKey(EVP_PKEY_X25519, secret32)); }

std::string x25519(std::string_view secret32, std::string_view peer_public32) {
  const Key own = privateKey(EVP_PKEY_X25519, secret32);
  const Key peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, asBytes(peer_public32), peer_public32.size()));
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new(own.get(), nullptr));
  std::string shared(32, '\0');
  std::size_t length = shared.size();
  const bool ok = peer && context && EVP_PKEY_derive_init(context.get()) == 1 &&
                  EVP_PKEY_derive_set_peer(context.get(), peer.get()) == 1 &&
                  EVP_PKEY_derive(context.get(), asBytes(shared), &length) == 1;
  ERR_clear_error();
  if (!ok || shared == std::string(32, '\0')) throw Error(Code::Damaged, "the X25519 share is not a usable point");
  return shared;
}

std::string ed25519PublicKey(std::string_view seed32) { return publicKeyOf(privateKey(EVP_PKEY_ED25519, seed32)); }

std::string ed25519Sign(std::string_view seed32, std::string_view message) {
  const Key key = privateKey(EVP_PKEY_ED25519, seed32);
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  std::string signature(64, '\0');
  std::size_t length = signature.size();
  require(context && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
              EVP_DigestSign(context.get(), asBytes(signature), &length, asBytes(message), message.size()) == 1,
          "sign");
  return signature;
}

bool ed25519Verify(std::string_view public32, std::string_view message, std::string_view signature) {
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, asBytes(public32), public32.size()));
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  const bool ok =
      key && context && signature.size() == 64 &&
      EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
      EVP_DigestVerify(context.get(), asBytes(signature), signature.size(), asBytes(message), message.size()) == 1;
  ERR_clear_error();
  return ok;
}

}  // namespace aragora::crypto
