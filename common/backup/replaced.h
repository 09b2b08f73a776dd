// What a restore would take the place of, for the person who is asked.
#pragma once

#include <optional>
#include <string>

#include "common/database/database.h"

namespace aragora::backup {

// "database aragora (12.3 MiB, newest change …)"; nullopt when there is none yet.
std::optional<std::string> whatIsReplaced(const database::Target& target);

}  // namespace aragora::backup
