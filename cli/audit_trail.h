// What an operator does by a command, in the audit log of the deployment that it is done to.
#pragma once

#include "cli/context.h"
#include "common/base/json.h"

namespace aragora::cli {

// Who types, as the kernel has it: "cli:ada uid 1000". Behind sudo "cli:root uid 0 sudo ada": who that is says the
// environment, which whoever may become root may have written.
std::string operatorName();

// `details` hold no secret. Where there is no log yet, no key to write it with or no right to, nothing is recorded; an
// entry that should be there and cannot be written is a warning: a recovery must not fail for want of a database.
void record(Context& context, const std::string& action, const std::string& object, json::object details = {},
            const std::string& result = "success");

}  // namespace aragora::cli
