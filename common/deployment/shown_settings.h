// Settings as they may be shown: secrets as fingerprints, others without the credentials in them, each with its origin.
#pragma once

#include "common/base/json.h"
#include "common/config/config.h"

namespace aragora::deployment {

std::string shown(const config::Setting& setting, const config::Candidate& candidate);
// {"value", "origin", "secret", "shadowed": [{"value", "origin"}]}
json::object describe(const config::Setting& setting, const config::Config& config);

}  // namespace aragora::deployment
