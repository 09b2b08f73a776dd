#include "common/backup/source.h"

#include <future>
#include <thread>

#include "common/backup/database_properties.h"
#include "common/backup/stable_view.h"
#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/database/postgres/program_connection.h"
#include "common/database/sqlite/pinned_snapshot.h"

namespace aragora::backup {

using database::Engine;

namespace {
constexpr auto kPinTimeout = std::chrono::seconds(30);
constexpr auto kDumpTimeout = std::chrono::hours(24);
constexpr auto kSilence = std::chrono::minutes(30);  // of pg_dump while it reads the catalog
constexpr auto kSchemaPatience = std::chrono::seconds(60);
constexpr auto kDumpLocks = std::chrono::milliseconds(2000);  // all but who waits for us are past: longer helps nobody
constexpr auto kDumpPause = std::chrono::milliseconds(150);
constexpr int kDumpTries = 3;
constexpr auto kAskAgain = std::chrono::milliseconds(50);

SourceReport dumpSqlite(const database::Target& target, const ByteSink& sink, Progress* progress) {
  if (!fileExists(target.path))
    throw Error(Code::NoInput, fmt::format("there is no database at {}", target.path.string()),
                "create it with: aragora migrate");
  database::sqlite::PinnedSnapshot snapshot(target.path, deadlineIn(kPinTimeout));
  SourceReport report;
  report.server_version = "SQLite " + snapshot.connection().query("SELECT sqlite_version()", {})[0].text(0);
  // Counting reads most of the file too: the pages that one of the two has read are in memory for the other.
  auto tables = std::async(std::launch::async, [&, stop = interrupt::minded()] {
    const interrupt::Minding minding(stop);
    return tableRecords(snapshot.connection());
  });
  begin(progress, {"reading the database", snapshot.size()});
  snapshot.read([&](std::string_view block) {
    sink(block);
    add(progress, block.size());
  });
  begin(progress, {"counting the rows of every table"});
  report.tables = tables.get();
  return report;
}

// Counts and digests of a view, computed on the server while pg_dump runs; cancelled when nobody wants them any more.
class Counting {
 public:
  Counting(database::postgres::PostgresConnection& connection, const StableView& view, const database::Target& target)
      : target_(target),
        backend_(view.backend()),
        tables_(std::async(std::launch::async, [&connection, stop = interrupt::minded()] {
          const interrupt::Minding minding(stop);
          return tableRecords(connection, Tables::Dumped);
        })) {}
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
  ~Counting() {
    // A cancellation between two statements has no effect: it is sent until the counting ends.
    while (tables_.valid() && tables_.wait_for(kAskAgain) != std::future_status::ready) {
      try {
        database::connect(target_)->query("SELECT pg_cancel_backend($1::integer)", {backend_});
      } catch (const std::exception& error) {
        log::debug("counting was not cancelled: {}", error.what());
        break;
      }
    }
  }
  std::vector<TableRecord> get() { return tables_.get(); }

 private:
  const database::Target& target_;
  std::int64_t backend_;
  std::future<std::vector<TableRecord>> tables_;
};

// pg_dump failed before it gave a byte: nothing of it has been used, and it may run again.
enum class Cause { SchemaChanges, Other };
class FailedEarly : public Error {
 public:
  FailedEarly(Cause why, const Error& error) : Error(error), cause(why) {}
  Cause cause;
};

// With the indexes, which a dump leaves out: no more than a hint at how large it becomes. Taken before the snapshot, so
// that it cannot spoil it.
std::uint64_t sizeOf(database::Connection& connection) {
  return static_cast<std::uint64_t>(
      connection.query("SELECT pg_database_size(current_database())", {})[0].optionalInteger(0).value_or(0));
}

SourceReport dumpView(const database::Target& given, const ByteSink& sink, Progress* progress, Deadline patience) {
  const auto target = database::postgres::pinned(given);  // the snapshot is of one server
  database::postgres::PostgresConnection connection(target);
  database::postgres::requireProgramVersion("pg_dump", connection.serverVersion());
  SourceReport report;
  report.server_version = "PostgreSQL " + connection.query("SHOW server_version", {})[0].text(0);
  const Phase dumping{"reading the database", progress != nullptr ? sizeOf(connection) : 0, true};
  const StableView view(connection, patience);
  pinSession(connection);
  report.properties =
      serialise(readProperties(connection, connection.query("SELECT current_database()", {})[0].text(0)));
  Counting counting(connection, view, target);
  const database::postgres::ProgramConnection programs(target.url);
  Subprocess dump(
      programs.command({"pg_dump", "-Fc", "-Z0", "--no-password",
                        fmt::format("--lock-wait-timeout={}", kDumpLocks.count()), "--snapshot=" + view.snapshot()}));
  std::vector<char> buffer(1U << 20);
  bool gave = false;
  begin(progress, dumping);
  while (const auto got = dump.read(buffer, deadlineIn(kSilence))) {
    sink(std::string_view(buffer.data(), got));
    add(progress, got);
    gave = true;
  }
  // End of output alone proves nothing: a pg_dump that died ends its output too.
  if (const int status = dump.wait(deadlineIn(std::chrono::seconds(60))); status != 0) {
    const Error error(Code::Unreachable,
                      fmt::format("pg_dump exited {}: {}", status, printable(trim(dump.errorOutput()), 300)));
    if (gave) throw error;
    const auto who = view.whoWaits(*database::connect(target));
    if (!who) throw FailedEarly(Cause::Other, error);
    throw FailedEarly(Cause::SchemaChanges,
                      Error(Code::Busy, fmt::format("the schema changes during the backup: {}", *who),
                            "try again when the change of the schema has ended"));
  }
  begin(progress, {"counting the rows of every table"});
  report.tables = counting.get();
  return report;
}

// Somebody who wants to change a table between our lock and pg_dump's own waits for us, and pg_dump for them: all locks
// are let go, the change passes, and everything begins anew.
SourceReport dumpPostgres(const database::Target& given, const ByteSink& sink, Progress* progress) {
  auto target = given;
  target.application_name = "aragora backup";
  target.statement_timeout = kDumpTimeout;
  const auto patience = deadlineIn(kSchemaPatience);
  for (int failures = 0;;) {
    try {
      return dumpView(target, sink, progress, patience);
    } catch (const FailedEarly& failed) {
      if (failed.cause == Cause::Other && ++failures == kDumpTries) throw;
      if (remaining(patience).count() == 0) throw;
      log::info("{}; trying again", failed.what());
      std::this_thread::sleep_for(kDumpPause);
    }
  }
}
}  // namespace

std::vector<TableRecord> tableRecords(database::Connection& connection, Tables which, Progress* progress) {
  std::vector<TableRecord> records;
  const auto comparing = [&](std::size_t tables) {
    begin(progress, {.what = "counting rows", .total = tables, .noun = "table", .even = false});
  };
  if (connection.engine() == Engine::Sqlite) {
    const auto names = connection.query(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name", {});
    comparing(names.size());
    for (const auto& row : names) {
      const auto count =
          connection.query(fmt::format("SELECT count(*) FROM {}", database::quoteIdentifier(row.text(0))), {})[0]
              .integer(0);
      records.push_back({row.text(0), count, {}});
      add(progress, 1);
    }
    return records;
  }
  const auto names = connection.query(
      "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN "
      "pg_namespace n ON n.oid = c.relnamespace "
      "WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname "
      "NOT LIKE 'pg_toast%' AND c.relpersistence = 'p' AND ($1 = 'all' OR NOT EXISTS (SELECT 1 FROM pg_depend e "
      "JOIN pg_extension x ON e.refclassid = 'pg_extension'::regclass AND x.oid = e.refobjid WHERE "
      "e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e' AND NOT (c.oid = ANY "
      "(coalesce(x.extconfig, '{}'))))) ORDER BY 1",
      {std::string(which == Tables::All ? "all" : "dumped")});
  comparing(names.size());
  for (const auto& row : names) {
    const auto sums =
        connection.query(fmt::format("SELECT count(*), coalesce(bit_xor(hashtextextended(t::text, 0)), 0), "
                                     "coalesce(sum(hashtextextended(t::text, 42)::numeric), 0) FROM {} t",
                                     row.text(0)),
                         {})[0];
    records.push_back({row.text(0), sums.integer(0), sums.text(1) + ":" + sums.text(2)});
    add(progress, 1);
  }
  return records;
}

SourceReport dumpDatabase(const database::Target& target, const ByteSink& sink, Progress* progress) {
  return target.engine == Engine::Sqlite ? dumpSqlite(target, sink, progress) : dumpPostgres(target, sink, progress);
}

}  // namespace aragora::backup
