// What the report of a debate says, in sentences. Pure.
#pragma once

#include <string>
#include <vector>

#include "common/base/json.h"

namespace aragora::store {

// Whether the debate changed the outcome, who changed what, what was left open; no names of models, no dissent.
std::vector<std::string> reportInWords(const json::object& report);

}  // namespace aragora::store
