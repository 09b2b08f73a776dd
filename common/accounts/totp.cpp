#include "common/accounts/totp.h"

#include <fmt/format.h>

namespace aragora::accounts {

namespace {
std::string percentEncoded(std::string_view text) {
  std::string encoded;
  for (const char byte : text) {
    const auto letter = static_cast<unsigned char>(byte);
    const bool plain = (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') ||
                       (letter >= 'A' && letter <= 'Z') || letter == '-' || letter == '.' || letter == '_';
    encoded += plain ? std::string(1, byte) : fmt::format("%{:02X}", letter);
  }
  return encoded;
}
}  // namespace

std::string totpCode(std::string_view secret, std::int64_t step, int digits, crypto::Digest digest) {
  std::string counter(8, '\0');
  for (std::size_t i = 0; i < counter.size(); ++i)
    counter[counter.size() - 1 - i] = static_cast<char>(static_cast<std::uint64_t>(step) >> (8 * i) & 0xFFU);
  const auto mac = crypto::hmac(digest, secret, counter);
  const auto byte = [&](std::size_t at) { return static_cast<std::uint32_t>(static_cast<unsigned char>(mac[at])); };
  const auto offset = byte(mac.size() - 1) & 0xFU;
  const auto number =
      (byte(offset) & 0x7FU) << 24U | byte(offset + 1) << 16U | byte(offset + 2) << 8U | byte(offset + 3);
  std::uint32_t modulus = 1;
  for (int i = 0; i < digits; ++i) modulus *= 10;
  return fmt::format("{:0{}}", number % modulus, digits);
}

std::optional<std::int64_t> totpStepOf(std::string_view secret, std::string_view code, std::int64_t now) {
  std::optional<std::int64_t> found;
  const auto current = now / kTotpStep;
  for (auto step = current - 1; step <= current + 1; ++step) {  // all of them, whichever it is
    if (crypto::constantTimeEqual(totpCode(secret, step), code)) found = step;
  }
  return found;
}

std::string toBase32(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  std::string text;
  std::uint32_t bits = 0;
  std::uint32_t held = 0;
  for (const char byte : bytes) {
    bits = (bits << 8U | static_cast<unsigned char>(byte)) & 0xFFFU;
    for (held += 8; held >= 5; held -= 5) text += kDigits[bits >> (held - 5) & 31U];
  }
  if (held > 0) text += kDigits[bits << (5 - held) & 31U];
  return text;
}

Secret otpauthUri(std::string_view secret, std::string_view account) {
  return Secret(fmt::format("otpauth://totp/Aragora:{}?secret={}&issuer=Aragora&algorithm=SHA1&digits={}&period={}",
                            percentEncoded(account), toBase32(secret), kTotpDigits, kTotpStep));
}

}  // namespace aragora::accounts
