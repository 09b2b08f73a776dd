// How much a secret is worth. Bits are estimated from the alphabet that was used (hex 4 bits a character, base64 6)
// after repeats and runs are taken out, never from the count of distinct characters, which rejects strong hex secrets.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace aragora::config {

inline constexpr std::size_t kMinimumSecretLength = 32;
inline constexpr double kMinimumSecretBits = 128;

double estimateBits(std::string_view secret);
// A word for why it is a placeholder ("a placeholder", "a sample value"), nullopt when it is none.
std::optional<std::string> placeholderReason(std::string_view secret);
// Why it is too weak to sign tokens with, nullopt when it is not. Never quotes the secret.
std::optional<std::string> weaknessOf(std::string_view secret);

}  // namespace aragora::config
