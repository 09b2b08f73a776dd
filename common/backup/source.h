// Where a backup's database bytes come from, and what they are compared with after a restore.
#pragma once

#include "common/backup/artifact.h"
#include "common/database/connection.h"

namespace aragora::backup {

struct SourceReport {
  std::string server_version;
  std::vector<TableRecord> tables;
  std::string properties;  // of the database itself, as database_properties.h writes them; empty for SQLite
};

// Streams a consistent copy of the live database into `sink`; counts and digests are of the same snapshot. PostgreSQL:
// the output of pg_dump -Fc -Z0; SQLite: the file's pages. Error(Unreachable | Config), and Error(Busy) when the schema
// does not come to rest: nothing has gone to `sink` then.
SourceReport dumpDatabase(const database::Target& target, const ByteSink& sink, Progress* progress = nullptr);

// Row counts, and on PostgreSQL order-free content digests, of every table. Call inside one snapshot, with a pinned
// session (pinSession). `Dumped`: without tables that an extension brings along filled.
enum class Tables { All, Dumped };
std::vector<TableRecord> tableRecords(database::Connection& connection, Tables which = Tables::All,
                                      Progress* progress = nullptr);

}  // namespace aragora::backup
