#include "common/accounts/api_key.h"

#include <array>

#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::accounts {

namespace {
constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::size_t kIdLength = 12;
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kSecretLength = 43;
constexpr std::size_t kChecksumLength = 6;
constexpr std::size_t kSecretAt = kApiKeyPrefix.size() + kIdLength + 1;
constexpr std::size_t kLength = kSecretAt + kSecretLength + kChecksumLength;

// CRC-32 of IEEE 802.3, bit by bit: a key has 60 bytes.
std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ (0xEDB88320U & (0U - (crc & 1U)));
  }
  return ~crc;
}

std::string checksumOf(std::string_view text) {
  std::string digits(kChecksumLength, kDigits[0]);
  auto value = crc32(text);
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, value /= kDigits.size())
    *digit = kDigits[value % kDigits.size()];
  return digits;
}
}  // namespace

std::string randomTokenId() {
  std::string id;
  while (id.size() < kIdLength) {
    for (const char byte : crypto::randomBytes(2 * kIdLength)) {
      const auto number = static_cast<unsigned char>(byte);
      if (number < 4 * kDigits.size() && id.size() < kIdLength) id += kDigits[number % kDigits.size()];  // all alike
    }
  }
  return id;
}

bool isTokenId(std::string_view id) {
  return id.size() == kIdLength && id.find_first_not_of(kDigits) == std::string_view::npos;
}

ApiKeyText newApiKey() {
  const auto id = randomTokenId();
  auto text = fmt::format("{}{}_{}", kApiKeyPrefix, id, toBase64Url(crypto::randomBytes(kSecretBytes)));
  text += checksumOf(text);
  return {id, Secret(std::move(text))};
}

bool meantAsApiKey(std::string_view text) { return startsWith(text, kApiKeyPrefix); }

std::optional<ApiKeyText> parseApiKey(std::string_view text) {
  if (text.size() != kLength || !meantAsApiKey(text) || text[kSecretAt - 1] != '_') return std::nullopt;
  const auto id = text.substr(kApiKeyPrefix.size(), kIdLength);
  const auto secret = fromBase64Url(text.substr(kSecretAt, kSecretLength));
  const auto checked = text.substr(0, kLength - kChecksumLength);
  if (!isTokenId(id) || !secret || secret->size() != kSecretBytes || text.substr(checked.size()) != checksumOf(checked))
    return std::nullopt;
  return ApiKeyText{std::string(id), Secret(std::string(text))};
}

}  // namespace aragora::accounts
