// What was applied to a database, as the table aragora_migrations in it says. One transaction's work each; the caller
// holds the lock.
#pragma once

#include "common/base/clock.h"
#include "common/database/connection.h"

namespace aragora::migrate {

struct Applied {
  int version = 0;
  std::string name;
  std::string checksum;
  Micros applied_at = 0;
  std::string applied_by;
  std::int64_t duration_ms = 0;
  int statements_done = 0;
  bool complete = true;
  std::string down;
  std::string note;
};

namespace history {
bool exists(database::Connection& connection);
// Unless it is there.
void create(database::Connection& connection);
// Oldest first, incomplete ones included; none without the table.
std::vector<Applied> read(database::Connection& connection);
// One of them.
std::optional<Applied> find(database::Connection& connection, int version);
void insert(database::Connection& connection, const Applied& record);
void remove(database::Connection& connection, int version);
}  // namespace history

}  // namespace aragora::migrate
