// Arbitrary bytes are no API key; whatever is taken for one is exactly one, and one-time codes of any length are
// refused or right.
#include <cstdlib>

#include "common/accounts/api_key.h"
#include "common/accounts/totp.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto key = aragora::accounts::parseApiKey(text);
  if (key && (key->whole.reveal() != text || !aragora::accounts::isTokenId(key->id))) std::abort();
  aragora::accounts::parseApiKey("ara_" + text);
  if (aragora::accounts::totpStepOf("a secret of twenty..", text, 1'800'000'000) && text.size() != 6) std::abort();
  aragora::accounts::otpauthUri("a secret of twenty..", text);
  return 0;
}
