// One-time passwords by time (RFC 6238) and the URI that brings their secret into an authenticator. Pure functions, any
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/secret.h"
#include "common/crypto/hash.h"

namespace aragora::accounts {

inline constexpr std::int64_t kTotpStep = 30;  // seconds
inline constexpr int kTotpDigits = 6;

// RFC 4226 section 5.3 with the counter `step`.
std::string totpCode(std::string_view secret, std::int64_t step, int digits = kTotpDigits,
                     crypto::Digest digest = crypto::Digest::Sha1);
// Which step of the last, this and the next the code is of, at `now` in seconds; nullopt for none of them.
std::optional<std::int64_t> totpStepOf(std::string_view secret, std::string_view code, std::int64_t now);

std::string toBase32(std::string_view bytes);  // RFC 4648 section 6, unpadded
// otpauth://totp/Aragora:ada%40example.org?secret=…
Secret otpauthUri(std::string_view secret, std::string_view account);

}  // namespace aragora::accounts
