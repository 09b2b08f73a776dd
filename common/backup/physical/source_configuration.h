// The configuration that a data directory brought from its source. While a directory is ours it is set aside:
// PostgreSQL reads postgresql.auto.conf and obeys signal files whatever else it is told (PostgreSQL documentation,
// "Setting Parameters", "Archive Recovery"). It comes back without its recovery settings, which were about another
// recovery.
#pragma once

#include <string>
#include <vector>

#include "common/base/file.h"

namespace aragora::backup {

// Can be repeated; what an interrupted run had set aside stays aside.
void setConfigurationAside(const fs::path& data);
// Undoes it; answers what is not as it was: "recovery_target_time in postgresql.auto.conf". Values are not shown, they
// may hold passwords.
std::vector<std::string> putConfigurationBack(const fs::path& data);

// Of a copy that was made from a standby, or in the middle of a recovery: it would follow its primary for ever. Answers
// which there were.
std::vector<std::string> removeSignals(const fs::path& data);

// The value of a setting as the source's files had it, empty when none names it; also while they are aside.
std::string sourceSetting(const fs::path& data, const std::string& name);

}  // namespace aragora::backup
