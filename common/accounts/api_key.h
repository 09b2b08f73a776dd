// An API key as text: ara_<id>_<secret><checksum>. The id is public and names the row, the secret is 32 random bytes,
// the checksum (CRC-32 of all before it, base 62) tells a key from junk without a database and makes scanners for
// leaked secrets exact. One text for each key: nothing else is taken for it. Pure functions, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/secret.h"

namespace aragora::accounts {

inline constexpr std::string_view kApiKeyPrefix = "ara_";

struct ApiKeyText {
  std::string id;
  Secret whole;
};

ApiKeyText newApiKey();
// Whether somebody meant one; then it is one or nothing.
bool meantAsApiKey(std::string_view text);
// nullopt for whatever was not made by newApiKey().
std::optional<ApiKeyText> parseApiKey(std::string_view text);

// Random, of digits and letters, as ids of tokens are.
std::string randomTokenId();
// Whether it has that form.
bool isTokenId(std::string_view id);

}  // namespace aragora::accounts
