#include "common/backup/source.h"

#include <future>

#include "common/backup/physical/base_source.h"
#include "common/base/error.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/database/sqlite/pinned_snapshot.h"

namespace aragora::backup {

using database::Engine;

namespace {
constexpr auto kPinTimeout = std::chrono::seconds(30);
constexpr auto kDumpTimeout = std::chrono::hours(24);
constexpr auto kSilence = std::chrono::minutes(30);  // of pg_dump while it waits for locks

SourceReport dumpSqlite(const database::Target& target, const ByteSink& sink) {
  std::error_code ignored;
  if (!fs::exists(target.path, ignored))
    throw Error(Code::NoInput, fmt::format("there is no database at {}", target.path.string()),
                "create it with: aragora migrate");
  database::sqlite::PinnedSnapshot snapshot(target.path, deadlineIn(kPinTimeout));
  SourceReport report;
  report.server_version = "SQLite " + snapshot.connection().query("SELECT sqlite_version()", {})[0].text(0);
  // Counting reads most of the file too: the pages that one of the two has read are in memory for the other.
  auto tables = std::async(std::launch::async, [&] { return tableRecords(snapshot.connection()); });
  snapshot.read(sink);
  report.tables = tables.get();
  return report;
}

SourceReport dumpPostgres(const database::Target& given, const ByteSink& sink) {
  auto target = given;
  target.application_name = "aragora backup";
  target.statement_timeout = kDumpTimeout;
  database::postgres::PostgresConnection connection(target);
  requireProgramVersion("pg_dump", connection.serverVersion());
  const database::Transaction snapshot_holder(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  const auto snapshot = connection.query("SELECT pg_export_snapshot()", {})[0].text(0);
  SourceReport report;
  report.server_version = "PostgreSQL " + connection.query("SHOW server_version", {})[0].text(0);
  // The digests are computed on the server while pg_dump runs.
  auto tables = std::async(std::launch::async, [&] { return tableRecords(connection); });

  Subprocess dump({{"pg_dump", "-Fc", "-Z0", "--no-password", "--lock-wait-timeout=60000", "--snapshot=" + snapshot},
                   database::postgres::programEnvironment(target.url),
                   false});
  std::vector<char> buffer(1U << 20);
  while (const auto got = dump.read(buffer, deadlineIn(kSilence))) sink(std::string_view(buffer.data(), got));
  const int status = dump.wait(deadlineIn(std::chrono::seconds(60)));
  report.tables = tables.get();
  // End of output alone proves nothing: a pg_dump that died ends its output too.
  if (status != 0)
    throw Error(Code::Unreachable,
                fmt::format("pg_dump exited {}: {}", status, printable(trim(dump.errorOutput()), 300)));
  return report;
}
}  // namespace

std::vector<TableRecord> tableRecords(database::Connection& connection) {
  std::vector<TableRecord> records;
  if (connection.engine() == Engine::Sqlite) {
    for (const auto& row : connection.query(
             "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name", {})) {
      const auto count =
          connection
              .query(fmt::format("SELECT count(*) FROM {}", database::postgres::quoteIdentifier(row.text(0))), {})[0]
              .integer(0);
      records.push_back({row.text(0), count, {}});
    }
    return records;
  }
  for (const auto& row :
       connection.query("SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN "
                        "pg_namespace n ON n.oid = c.relnamespace "
                        "WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname "
                        "NOT LIKE 'pg_toast%' AND c.relpersistence = 'p' ORDER BY 1",
                        {})) {
    const auto sums =
        connection.query(fmt::format("SELECT count(*), coalesce(bit_xor(hashtextextended(t::text, 0)), 0), "
                                     "coalesce(sum(hashtextextended(t::text, 42)::numeric), 0) FROM {} t",
                                     row.text(0)),
                         {})[0];
    records.push_back({row.text(0), sums.integer(0), sums.text(1) + ":" + sums.text(2)});
  }
  return records;
}

SourceReport dumpDatabase(const database::Target& target, const ByteSink& sink) {
  return target.engine == Engine::Sqlite ? dumpSqlite(target, sink) : dumpPostgres(target, sink);
}

}  // namespace aragora::backup
