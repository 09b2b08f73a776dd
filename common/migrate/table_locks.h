// Which locks statements take, and who is in their way.
#pragma once

#include "common/database/connection.h"
#include "common/migrate/lexer.h"

namespace aragora::migrate {

// Whether PostgreSQL's `sql` takes locks that others feel, in words.
std::string describeLock(database::Engine engine, const std::string& sql);
// The statement that takes the strongest lock which `statements` will take of tables that are there already; empty when
// they take none. Taken by and by, a weaker one first (a foreign key's, before an ALTER TABLE), whoever reads and then
// writes the table waits for us and we for him: a deadlock in each try, for as long as there is load.
std::string lockFirst(const std::vector<Statement>& statements);
// Sessions in a transaction that hold a lock on one of our tables, in words. PostgreSQL.
std::string describeBlockers(const database::Target& target);

}  // namespace aragora::migrate
