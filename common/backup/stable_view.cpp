#include "common/backup/stable_view.h"

#include <thread>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/text.h"

namespace aragora::backup {

using database::Connection;

namespace {
constexpr auto kPause = std::chrono::milliseconds(20);

std::string stateOf(const Error& error) {
  const auto* details = error.details().if_object();
  return details != nullptr ? jsonTextOr(*details, "sqlstate", "") : "";
}

// Gone or renamed between the list and the lock.
bool listIsOld(const Error& error) {
  const auto state = stateOf(error);
  return state == "42P01" || state == "3F000" || state == "42809";
}

std::string listOfOids(const auto& tables) {
  std::vector<std::string> oids;
  oids.reserve(tables.size());
  for (const auto& table : tables) oids.push_back(std::to_string(table.oid));
  return "{" + join(oids, ",") + "}";
}

std::optional<std::string> whoChanges(Connection& connection, const auto& tables) {
  const auto rows = connection.query(
      "SELECT l.relation::regclass::text, l.pid, coalesce(a.application_name, '') FROM pg_locks l LEFT JOIN "
      "pg_stat_activity a ON a.pid = l.pid WHERE l.relation = ANY ($1::oid[]) AND l.mode = 'AccessExclusiveLock' AND "
      "l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY l.granted DESC LIMIT 1",
      {listOfOids(tables)});
  if (rows.empty()) return std::nullopt;
  return fmt::format("table {} is changed by backend {}{}", rows[0].text(0), rows[0].text(1),
                     rows[0].text(2).empty() ? "" : " (" + printable(rows[0].text(2), 60) + ")");
}
}  // namespace

StableView::StableView(database::postgres::PostgresConnection& connection, Deadline deadline)
    : connection_(connection) {
  backend_ = connection.query("SELECT pg_backend_pid()", {})[0].integer(0);
  while (!tryLock(tablesOf(connection), deadline)) {
    if (remaining(deadline).count() == 0)
      throw Error(Code::Busy, "the schema changes faster than it can be locked for a backup",
                  "try again when the change of the schema has ended");
    std::this_thread::sleep_for(kPause);
  }
}

// Everything that pg_dump locks; temporary tables are nobody else's.
std::vector<StableView::Table> StableView::tablesOf(Connection& connection) {
  std::vector<Table> tables;
  for (const auto& row : connection.query(
           "SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n "
           "ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname NOT IN "
           "('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%' ORDER BY c.oid",
           {}))
    tables.push_back({row.integer(0), row.text(1)});
  return tables;
}

bool StableView::tryLock(const std::vector<Table>& tables, Deadline deadline) {
  const auto wait = std::max<std::int64_t>(1, remaining(deadline).count());
  // LOCK takes no snapshot: that of a REPEATABLE READ transaction is taken by its first query, behind the locks.
  transaction_.emplace(connection_, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    connection_.executeScript(fmt::format("SET LOCAL lock_timeout = {}", wait));
    connection_.executeScript("SET LOCAL idle_in_transaction_session_timeout = 0");
    std::vector<std::string> names;
    names.reserve(tables.size());
    for (const auto& table : tables) names.push_back("ONLY " + table.name);
    if (!names.empty()) connection_.executeScript(fmt::format("LOCK TABLE {} IN ACCESS SHARE MODE", join(names, ", ")));
    snapshot_ = connection_.query("SELECT pg_export_snapshot()", {})[0].text(0);
    tables_ = tablesOf(connection_);
    if (tables_ == tables) return true;
    transaction_.reset();
    return false;
  } catch (const Error& error) {
    transaction_.reset();
    if (listIsOld(error) || stateOf(error) == "40P01") return false;
    if (stateOf(error) != "55P03") throw;
    const auto who = whoChanges(connection_, tables);
    throw Error(Code::Busy, fmt::format("the schema cannot be locked for a backup: {}", who.value_or(error.what())),
                "try again when the change of the schema has ended");
  }
}

std::optional<std::string> StableView::whoWaits(Connection& other) const { return whoChanges(other, tables_); }

}  // namespace aragora::backup
