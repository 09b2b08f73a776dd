// Arbitrary bytes are no access token, and what somebody with the secret signed is one or is refused with an Error.
#include <cstdlib>

#include "common/accounts/access_token.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const aragora::Secret secret("a secret of thirty-two characters!");
  static const aragora::accounts::AccessTokens tokens(secret, std::chrono::hours(1));
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    tokens.read(text, 1'800'000'000);
    std::abort();
  } catch (const aragora::Error&) {
  }
  const auto half = text.find('\n');
  if (half == std::string::npos) return 0;
  const auto part = aragora::toBase64Url(text.substr(0, half)) + "." + aragora::toBase64Url(text.substr(half + 1));
  try {
    tokens.read(part + "." + aragora::toBase64Url(aragora::crypto::hmacSha256(secret.reveal(), part)), 1'800'000'000);
  } catch (const aragora::Error&) {
  }
  return 0;
}
