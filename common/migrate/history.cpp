#include "common/migrate/history.h"

namespace aragora::migrate::history {

namespace {
std::vector<Applied> select(database::Connection& connection, std::string_view condition,
                            const database::Values& values) {
  std::vector<Applied> records;
  for (const auto& row : connection.query(fmt::format("SELECT version, name, checksum, applied_at, applied_by, "
                                                      "duration_ms, statements_done, complete, down_sql, note FROM "
                                                      "aragora_migrations {} ORDER BY version",
                                                      condition),
                                          values))
    records.push_back({static_cast<int>(row.integer(0)), row.text(1), row.text(2), row.integer(3), row.text(4),
                       row.integer(5), static_cast<int>(row.integer(6)), row.integer(7) != 0, row.text(8),
                       row.text(9)});
  return records;
}
}  // namespace

bool exists(database::Connection& connection) {
  if (connection.engine() == database::Engine::Postgres)
    return !connection.query("SELECT to_regclass('aragora_migrations')", {})[0].isNull(0);
  return !connection.query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'aragora_migrations'", {})
              .empty();
}

void create(database::Connection& connection) {
  if (exists(connection)) return;
  connection.query(
      "CREATE TABLE IF NOT EXISTS aragora_migrations (version integer PRIMARY KEY, name text NOT NULL, checksum text "
      "NOT NULL, "
      "applied_at bigint NOT NULL, applied_by text NOT NULL, duration_ms bigint NOT NULL, statements_done integer NOT "
      "NULL, "
      "complete integer NOT NULL, down_sql text NOT NULL, note text NOT NULL DEFAULT '')",
      {});
}

std::vector<Applied> read(database::Connection& connection) {
  if (!exists(connection)) return {};
  return select(connection, "", {});
}

std::optional<Applied> find(database::Connection& connection, int version) {
  if (!exists(connection)) return std::nullopt;
  auto records = select(connection, "WHERE version = $1", {std::int64_t{version}});
  if (records.empty()) return std::nullopt;
  return std::move(records.front());
}

void insert(database::Connection& connection, const Applied& record) {
  connection.query(
      "INSERT INTO aragora_migrations (version, name, checksum, applied_at, applied_by, duration_ms, statements_done, "
      "complete, down_sql, note) "
      "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
      {std::int64_t{record.version}, record.name, record.checksum, record.applied_at, record.applied_by,
       record.duration_ms, std::int64_t{record.statements_done}, std::int64_t{record.complete ? 1 : 0}, record.down,
       record.note});
}

void remove(database::Connection& connection, int version) {
  connection.query("DELETE FROM aragora_migrations WHERE version = $1", {std::int64_t{version}});
}

}  // namespace aragora::migrate::history
