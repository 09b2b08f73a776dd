// The live schema as sorted lines (tables, columns, constraints, indexes), and what it should be: the lines that the
// embedded migrations give when applied to an empty place (an in-memory SQLite database, or a PostgreSQL schema inside
// a transaction that is rolled back). Only our own tables are looked at.
#pragma once

#include <set>
#include <string>

#include "common/migrate/migration.h"

namespace aragora::migrate {

using Fingerprint = std::set<std::string>;

Fingerprint liveSchema(database::Connection& connection);
// Throws Error(CouldNotVerify) when the scratch schema may not be created.
Fingerprint expectedSchema(const database::Target& target, int up_to_version);

}  // namespace aragora::migrate
