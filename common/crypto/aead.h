// Authenticated encryption. AES-256-GCM (NIST SP 800-38D) seals rows: `nonce(12) | ciphertext | tag(16)`, random nonce,
// the context (table|column|row) as associated data, so that a moved ciphertext does not open. ChaCha20-Poly1305
// (RFC 8439) is what the age container uses. `open` answers nullopt on any mismatch, never partial plaintext.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace aragora::crypto {

std::string sealAesGcm(std::string_view key32, std::string_view plaintext, std::string_view associated_data);
std::optional<std::string> openAesGcm(std::string_view key32, std::string_view sealed,
                                      std::string_view associated_data);

std::string sealChaCha(std::string_view key32, std::string_view nonce12, std::string_view plaintext);
std::optional<std::string> openChaCha(std::string_view key32, std::string_view nonce12, std::string_view sealed);

}  // namespace aragora::crypto
