#include "common/migrate/fingerprint.h"

#include "common/base/error.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::migrate {

using database::Connection;
using database::Engine;

namespace {
constexpr std::string_view kHistory = "aragora_migrations";

Fingerprint sqliteSchema(Connection& connection) {
  Fingerprint lines;
  for (const auto& row : connection.query(
           "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' AND tbl_name <> $1",
           {std::string(kHistory)})) {
    std::string folded;
    for (const char c : row.text(3)) {
      const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
      if (!blank)
        folded += c;
      else if (!folded.empty() && folded.back() != ' ')
        folded += ' ';
    }
    lines.insert(fmt::format("{} {}: {}", row.text(0), row.text(1), folded));
  }
  return lines;
}

Fingerprint postgresSchema(Connection& connection) {
  Fingerprint lines;
  connection.executeScript("SET LOCAL quote_all_identifiers = off");  // the lines are compared as text
  for (const auto& row : connection.query(
           "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
           "coalesce(pg_get_expr(d.adbin, d.adrelid), '') FROM pg_attribute a "
           "JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum "
           "WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT "
           "a.attisdropped AND c.relname <> 'aragora_migrations'",
           {})) {
    lines.insert(fmt::format("column {}.{}: {}{}{}", row.text(0), row.text(1), row.text(2),
                             row.text(3) == "t" ? " NOT NULL" : "",
                             row.text(4).empty() ? "" : " DEFAULT " + row.text(4)));
  }
  const auto schema = connection.query("SELECT current_schema()", {})[0].text(0);
  const auto unqualified = [&](std::string text) { return replaceAll(std::move(text), schema + ".", ""); };
  for (const auto& row :
       connection.query("SELECT c.relname, n.conname, pg_get_constraintdef(n.oid) FROM pg_constraint n JOIN pg_class c "
                        "ON c.oid = n.conrelid "
                        "WHERE n.connamespace = current_schema()::regnamespace AND c.relname <> 'aragora_migrations'",
                        {})) {
    lines.insert(fmt::format("constraint {}.{}: {}", row.text(0), row.text(1), unqualified(row.text(2))));
  }
  for (const auto& row :
       connection.query("SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid FROM "
                        "pg_index i JOIN pg_class c ON c.oid = i.indrelid "
                        "WHERE c.relnamespace = current_schema()::regnamespace AND c.relname <> 'aragora_migrations'",
                        {})) {
    lines.insert(fmt::format("index {}: {}{}", unqualified(row.text(0)), unqualified(row.text(1)),
                             row.text(2) == "t" ? "" : " INVALID"));
  }
  return lines;
}
}  // namespace

Fingerprint liveSchema(Connection& connection) {
  return connection.engine() == Engine::Sqlite ? sqliteSchema(connection) : postgresSchema(connection);
}

Fingerprint expectedSchema(const database::Target& target, int up_to_version) {
  auto scratch_target = target;
  if (target.engine == Engine::Sqlite) scratch_target.path = ":memory:";
  const auto scratch = database::connect(scratch_target, database::OpenMode::Create);
  const database::Transaction rolled_back(*scratch);
  if (target.engine == Engine::Postgres) {
    const auto schema = "aragora_expected_" + lower(newUlid());
    try {
      scratch->query(fmt::format("CREATE SCHEMA {}", schema), {});
    } catch (const Error& error) {
      throw Error(
          Code::CouldNotVerify, fmt::format("the expected schema cannot be built: {}", error.what()),
          database::postgres::isReadOnly(error) ? error.hint() : "grant CREATE on the database to the migration role");
    }
    scratch->query(fmt::format("SET LOCAL search_path TO {}", schema), {});
  }
  for (const auto& migration : migrationsFor(target.engine)) {
    if (migration.version > up_to_version) break;
    for (const auto& statement : splitStatements(migration.up, migration.name)) {
      scratch->executeScript(replaceAll(statement.text, " CONCURRENTLY", ""), true);
    }
  }
  return liveSchema(*scratch);
}

}  // namespace aragora::migrate
