#include "common/config/strength.h"

#include <cctype>
#include <cmath>

#include "common/base/text.h"

namespace aragora::config {

namespace {
// Shortest period p such that the text repeats itself every p characters, or its length.
std::size_t period(std::string_view text) {
  for (std::size_t p = 1; p <= text.size() / 2; ++p) {
    if (text.substr(p) == text.substr(0, text.size() - p)) return p;
  }
  return text.size();
}

double alphabetSize(std::string_view text) {
  bool digits = false;
  bool hex_lower = false;
  bool hex_upper = false;
  bool lower_case = false;
  bool upper_case = false;
  bool base64 = false;
  bool other = false;
  for (const char c : text) {
    if (std::isdigit(static_cast<unsigned char>(c)))
      digits = true;
    else if (c >= 'a' && c <= 'f')
      hex_lower = true;
    else if (c >= 'A' && c <= 'F')
      hex_upper = true;
    else if (std::islower(static_cast<unsigned char>(c)))
      lower_case = true;
    else if (std::isupper(static_cast<unsigned char>(c)))
      upper_case = true;
    else if (c == '+' || c == '/' || c == '-' || c == '_' || c == '=')
      base64 = true;
    else
      other = true;
  }
  if (other) return 90;
  if (base64 && (lower_case || hex_lower) && (upper_case || hex_upper)) return 64;
  if (!lower_case && !upper_case && !base64) return (hex_lower || hex_upper) ? 16 : 10;
  double size = digits ? 10 : 0;
  if (hex_lower || lower_case) size += 26;
  if (hex_upper || upper_case) size += 26;
  if (base64) size += 2;
  return size;
}

// Characters that continue a run (aaaa) or a sequence (abcd, 4321) of at least three add nothing.
std::size_t informativeLength(std::string_view text) {
  std::size_t count = std::min<std::size_t>(2, text.size());
  for (std::size_t i = 2; i < text.size(); ++i) {
    const int step = text[i] - text[i - 1];
    const int before = text[i - 1] - text[i - 2];
    if (!(step == before && step >= -1 && step <= 1)) ++count;
  }
  return count;
}
}  // namespace

double estimateBits(std::string_view secret) {
  if (secret.empty()) return 0;
  const auto unit = secret.substr(0, period(secret));
  return std::log2(alphabetSize(unit)) * static_cast<double>(informativeLength(unit));
}

std::optional<std::string> placeholderReason(std::string_view secret) {
  const auto text = lower(secret);
  // Long enough that a random secret holds one less often than once in a million.
  static constexpr std::string_view kParts[] = {
      "change-me",   "change_me",    "changeme",    "replace-me", "replace_me",     "replaceme",  "your-32",
      "your_32",     "your-secret",  "your_secret", "your-jwt",   "your-key",       "your-api",   "your_api",
      "32-char",     "32-byte",      "placeholder", "example",    "test-secret",    "dev-secret", "super-secret",
      "supersecret", "jwt-secret",   "insert-",     "sk-ant-xxx", "aragora-secret", "xxxxxxxx",   "development",
      "password123", "correcthorse", "$(openssl",   "${"};
  for (const auto part : kParts) {
    if (text.find(part) != std::string::npos) return "a placeholder, not a secret";
  }
  static constexpr std::string_view kWhole[] = {"secret", "password", "aragora", "admin",
                                                "test",   "token",    "sk-xxx",  "none"};
  for (const auto whole : kWhole) {
    if (text == whole) return "a sample value, not a secret";
  }
  return std::nullopt;
}

std::optional<std::string> weaknessOf(std::string_view secret) {
  if (const auto reason = placeholderReason(secret)) return reason;
  if (secret.size() < kMinimumSecretLength) {
    return fmt::format("only {} long; {} or more are needed", counted(secret.size(), "character"),
                       kMinimumSecretLength);
  }
  if (const double bits = estimateBits(secret); bits < kMinimumSecretBits) {
    return fmt::format("too predictable (about {:.0f} bits; {:.0f} or more are needed)", bits, kMinimumSecretBits);
  }
  return std::nullopt;
}

}  // namespace aragora::config
