#include "common/backup/replaced.h"

#include "common/backup/postgres_site.h"
#include "common/backup/saving_note.h"
#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/moment.h"
#include "common/base/text.h"
#include "common/database/sqlite/usage_lock.h"

namespace aragora::backup {

namespace {
std::optional<std::string> sqliteFile(const fs::path& named) {
  const auto file = database::sqlite::realFile(named);
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return std::nullopt;
  auto size = fs::file_size(file, ignored);
  if (const auto log = fs::path(file.string() + "-wal"); fs::exists(log, ignored)) size += fs::file_size(log, ignored);
  const auto seen = lookAtDatabaseFiles(file);
  return fmt::format("{} ({}{})", file.string(), humanBytes(size),
                     seen ? ", newest change " + describeMoment(seen->newest()) : "");
}

// What the tables say; a database that cannot be looked at is replaced all the same.
std::string stateOf(const database::Target& target) {
  try {
    const auto connection = database::connect(target);
    const auto size = humanBytes(
        static_cast<std::uint64_t>(connection->query("SELECT pg_database_size(current_database())", {})[0].integer(0)));
    if (connection->query("SELECT to_regclass('debates') IS NOT NULL", {})[0].text(0) != "t")
      return size + ", without this product's tables";
    const auto newest =
        connection
            ->query(
                "SELECT max(at) FROM (SELECT max(updated_at) AS at FROM debates UNION ALL SELECT max(updated_at) FROM "
                "settings) AS newest",
                {})[0]
            .optionalInteger(0);
    return newest ? fmt::format("{}, newest change {}", size, describeMoment(*newest)) : size + ", without content";
  } catch (const Error& error) {
    return fmt::format("it cannot be looked at: {}", error.what());
  }
}
}  // namespace

std::optional<std::string> whatIsReplaced(const database::Target& target) {
  if (target.engine == database::Engine::Sqlite) return sqliteFile(target.path);
  const PostgresSite site(target);
  if (!site.exists()) return std::nullopt;
  return fmt::format("database {} ({})", site.live(), stateOf(target));
}

}  // namespace aragora::backup
