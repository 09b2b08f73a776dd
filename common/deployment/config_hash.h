// One hash for the settings that a debate was created and ended under, so that whoever compares two receipts sees that
// the configuration was another one. No secret goes into it. Pure functions, any thread.
#pragma once

#include "common/base/json.h"
#include "common/config/config.h"

namespace aragora::deployment {

// What is hashed: the settings that are set to something else than their default, by name, as texts. Left out are
// secrets, and what says where an instance has its place on its machine (paths, addresses, the port), so that all
// instances of a deployment have one hash, whatever a later version adds to the table. Passwords in URLs are taken out.
// Of `at_start` are those that a reload does not apply.
json::object hashedSettings(const config::Config& at_start, const config::Config& now);
// SHA-256 of that as JSON, members sorted by name, without spaces; in hexadecimal.
std::string configHash(const config::Config& at_start, const config::Config& now);

}  // namespace aragora::deployment
