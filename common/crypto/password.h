// Passwords as Argon2id hashes in PHC form (RFC 9106; parameters of the OWASP password storage cheat sheet: 19 MiB, two
// passes), by libsodium. A hash takes some 25 ms and its memory, so at most four are computed at a time and twelve more
// wait; the next gets Error(Overloaded). Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "common/base/secret.h"

namespace aragora::crypto {

std::string hashPassword(const Secret& password);
// False also for a hash that cannot be read.
bool passwordMatches(const Secret& password, const std::string& hash);
// Whether the hash was made with other parameters than those of today.
bool passwordNeedsRehash(const std::string& hash);
// Hashes that were computed since the last time, for either purpose.
std::uint64_t takePasswordsComputed();

}  // namespace aragora::crypto
