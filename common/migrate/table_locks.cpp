#include "common/migrate/table_locks.h"

#include <algorithm>
#include <regex>
#include <set>

#include "common/base/text.h"

namespace aragora::migrate {

using database::Engine;

std::string describeLock(Engine engine, const std::string& sql) {
  if (engine == Engine::Sqlite) return "the write lock: other writers wait, readers do not";
  const auto text = upper(sql.substr(0, 400));
  const auto has = [&](const char* part) { return text.find(part) != std::string::npos; };
  if (startsWith(text, "CREATE TABLE"))
    return has("REFERENCES")
               ? "ShareRowExclusive on referenced tables: their writers wait; the new table is nobody's yet"
               : "none that others feel: the table is new";
  if (startsWith(text, "CREATE INDEX CONCURRENTLY") || startsWith(text, "CREATE UNIQUE INDEX CONCURRENTLY"))
    return "ShareUpdateExclusive: readers and writers go on; waits for older transactions";
  if (startsWith(text, "CREATE INDEX") || startsWith(text, "CREATE UNIQUE INDEX"))
    return "Share: writers wait until the index is built";
  if (startsWith(text, "DROP INDEX CONCURRENTLY")) return "ShareUpdateExclusive: readers and writers go on";
  if (startsWith(text, "ALTER TABLE") || startsWith(text, "DROP") || startsWith(text, "TRUNCATE"))
    return "AccessExclusive: readers and writers wait";
  if (startsWith(text, "INSERT") || startsWith(text, "UPDATE") || startsWith(text, "DELETE"))
    return "RowExclusive: only writers of the same rows wait";
  return "unknown: read it";
}

std::string lockFirst(const std::vector<Statement>& statements) {
  static const std::regex kChanged(
      R"(^(ALTER|DROP|CREATE)\s+TABLE\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?("?[A-Za-z0-9_]+"?))", std::regex::icase);
  std::set<std::string> made;
  std::vector<std::string> changed;
  for (const auto& statement : statements) {
    std::smatch match;
    if (!std::regex_search(statement.text, match, kChanged)) continue;
    if (lower(match[1].str()) == "create")
      made.insert(match[2].str());
    else if (made.count(match[2].str()) == 0 && std::find(changed.begin(), changed.end(), match[2]) == changed.end())
      changed.push_back(match[2].str());
  }
  return changed.empty() ? "" : fmt::format("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", join(changed, ", "));
}

std::string describeBlockers(const database::Target& target) {
  const auto connection = database::connect(target);
  std::vector<std::string> names;
  for (const auto& row :
       connection->query("SELECT DISTINCT a.pid, a.application_name, a.usename, extract(epoch FROM now() - "
                         "a.xact_start)::bigint FROM pg_locks l "
                         "JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid "
                         "WHERE l.granted AND c.relnamespace = current_schema()::regnamespace AND a.pid <> "
                         "pg_backend_pid() AND a.xact_start IS NOT NULL "
                         "AND a.application_name NOT LIKE 'aragora migrate %' ORDER BY 4 DESC LIMIT 5",
                         {})) {
    names.push_back(fmt::format("backend {} ({} {}), in a transaction for {} s", row.text(0), row.text(2), row.text(1),
                                row.text(3)));
  }
  return names.empty() ? "a session that is gone by now" : join(names, "; ");
}

}  // namespace aragora::migrate
