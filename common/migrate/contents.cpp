#include "common/migrate/contents.h"

#include "common/base/file.h"

namespace aragora::migrate {

using database::Engine;

bool holdsData(const database::Target& target) {
  if (target.engine == Engine::Sqlite && !fileExists(target.path)) return false;
  const auto connection = database::connect(target);
  for (const auto* table : {"debates", "users"}) {
    const bool exists =
        target.engine == Engine::Sqlite
            ? !connection->query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1", {std::string(table)})
                   .empty()
            : !connection->query("SELECT to_regclass($1)", {std::string(table)})[0].isNull(0);
    if (exists && !connection->query(fmt::format("SELECT 1 FROM {} LIMIT 1", table), {}).empty()) return true;
  }
  return false;
}

}  // namespace aragora::migrate
