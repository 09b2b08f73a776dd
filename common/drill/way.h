// How a recovery goes and where it reads, each with its one table of names.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/backup/kind.h"

namespace aragora::drill {

// Logical: a dump is loaded, with its increments. Physical: a base backup and the log after it.
enum class Way { Logical, Physical };
// Local: in backup.directory. Offsite: the copy elsewhere.
enum class Where { Local, Offsite };

std::string_view name(Way way);
std::string_view name(Where where);
std::optional<Way> parseWay(std::string_view name);
std::vector<std::string> wayNames();
// Of the backup that a recovery begins with.
backup::Kind kindFor(Way way);

}  // namespace aragora::drill
