// Identifiers: ULIDs (48-bit milliseconds, 80 random bits, Crockford base 32), which sort by time of creation.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace aragora {

std::string newUlid();
// When it was made; nullopt for what is no ULID. Either case.
std::optional<Micros> ulidTime(std::string_view ulid);
// The process's own name among instances: host name, pid and four random hex digits.
std::string instanceName();

}  // namespace aragora
