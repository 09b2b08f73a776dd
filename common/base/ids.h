// Identifiers: ULIDs (48-bit milliseconds, 80 random bits, Crockford base 32), which sort by time of creation.
#pragma once

#include <string>

namespace aragora {

std::string newUlid();
// The process's own name among instances: host name, pid and four random hex digits.
std::string instanceName();

}  // namespace aragora
