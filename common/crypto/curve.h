// X25519 key agreement (RFC 7748) and Ed25519 signatures (RFC 8032), raw 32-byte keys.
#pragma once

#include <string>
#include <string_view>

namespace aragora::crypto {

std::string x25519PublicKey(std::string_view secret32);
// Throws Error(Damaged) for a low-order point (all-zero result), as RFC 7748 section 6.1 advises.
std::string x25519(std::string_view secret32, std::string_view peer_public32);

std::string ed25519PublicKey(std::string_view seed32);
std::string ed25519Sign(std::string_view seed32, std::string_view message);
bool ed25519Verify(std::string_view public32, std::string_view message, std::string_view signature);

}  // namespace aragora::crypto
