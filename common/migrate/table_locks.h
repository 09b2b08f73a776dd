// Which locks statements take, and who is in their way.
#pragma once

#include "common/database/connection.h"

namespace aragora::migrate {

// Whether PostgreSQL's `sql` takes locks that others feel, in words.
std::string describeLock(database::Engine engine, const std::string& sql);
// Sessions in a transaction that hold a lock on one of our tables, in words. PostgreSQL.
std::string describeBlockers(const database::Target& target);

}  // namespace aragora::migrate
