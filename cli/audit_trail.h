// What an operator does by a command, in the audit log of the deployment that it is done to.
#pragma once

#include "cli/context.h"
#include "common/base/json.h"

namespace aragora::cli {

// Who types: "cli:ada", also behind sudo.
std::string operatorName();

// `details` hold no secret. Where there is no log yet, no key to write it with or no right to, nothing is recorded; an
// entry that should be there and cannot be written is a warning: a recovery must not fail for want of a database.
void record(Context& context, const std::string& action, const std::string& object, json::object details = {},
            const std::string& result = "success");

}  // namespace aragora::cli
