#include "common/database/connection.h"

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/names.h"
#include "common/base/text.h"
#include "common/database/database.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/database/postgres/postgres_database.h"
#include "common/database/sqlite/sqlite_connection.h"
#include "common/database/sqlite/sqlite_database.h"

namespace aragora::database {

namespace {
constexpr Names<Engine, 2> kStoredNames{{{Engine::Sqlite, "sqlite"}, {Engine::Postgres, "postgres"}}};
}  // namespace

std::string_view storedName(Engine engine) { return nameIn(kStoredNames, engine); }
std::optional<Engine> parseEngine(std::string_view stored_name) { return parseIn(kStoredNames, stored_name); }

std::string_view name(Engine engine) { return engine == Engine::Sqlite ? "SQLite" : "PostgreSQL"; }

const std::string& Row::text(std::size_t column) const {
  static const std::string empty;
  const auto& cell = cells_.at(column);
  return cell ? *cell : empty;
}

std::int64_t Row::integer(std::size_t column) const { return parseInteger(text(column)).value_or(0); }

double Row::number(std::size_t column) const { return isNull(column) ? 0 : std::strtod(text(column).c_str(), nullptr); }

std::optional<std::int64_t> Row::optionalInteger(std::size_t column) const {
  return isNull(column) ? std::nullopt : std::optional(integer(column));
}

Transaction::Transaction(Connection& connection, std::string_view begin, Begins begins) : connection_(connection) {
  if (begins == Begins::Now)
    connection_.executeScript(begin);
  else
    connection_.begin(begin);
}

Transaction::~Transaction() {
  if (done_ || !connection_.usable()) return;
  try {
    connection_.rollBack();
  } catch (const std::exception& error) {
    log::debug("rollback failed: {}", error.what());  // the connection is closed by its owner, which rolls back too
  }
}

void Transaction::commit() {
  connection_.commit();
  done_ = true;
}

std::string describe(const Target& target) {
  return target.engine == Engine::Sqlite ? target.path.string() : postgres::describeUrl(target.url);
}

std::unique_ptr<Connection> connect(const Target& target, OpenMode mode) {
  if (target.engine == Engine::Postgres) return std::make_unique<postgres::PostgresConnection>(target);
  if (mode == OpenMode::Create && target.path != ":memory:") makeDirectories(target.path.parent_path(), 0750);
  return std::make_unique<sqlite::SqliteConnection>(target.path, mode);
}

std::unique_ptr<Database> openDatabase(const Target& target) {
  if (target.engine == Engine::Postgres) return std::make_unique<postgres::PostgresDatabase>(target);
  return std::make_unique<sqlite::SqliteDatabase>(target);
}

}  // namespace aragora::database
