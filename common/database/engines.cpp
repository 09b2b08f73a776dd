// The one place that knows both engines: whoever asks for a connection or a database gets the one that its target
// names.
#include "common/base/file.h"
#include "common/database/database.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/database/postgres/postgres_database.h"
#include "common/database/sqlite/sqlite_connection.h"
#include "common/database/sqlite/sqlite_database.h"

namespace aragora::database {

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
