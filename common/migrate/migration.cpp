#include "common/migrate/migration.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::migrate {

std::vector<Migration> parseMigrations(const std::vector<EmbeddedFile>& files, std::string_view folder) {
  std::map<int, Migration> by_version;
  for (const auto& file : files) {
    const auto slash = file.path.rfind('/');
    if (slash == std::string_view::npos || !endsWith(file.path.substr(0, slash), folder)) continue;
    const auto base = file.path.substr(slash + 1);
    const auto underscore = base.find('_');
    const auto version = parseInteger(base.substr(0, underscore));
    ARAGORA_CHECK(version && *version > 0);
    auto& migration = by_version[static_cast<int>(*version)];
    migration.version = static_cast<int>(*version);
    const bool up = endsWith(base, ".up.sql");
    ARAGORA_CHECK(up || endsWith(base, ".down.sql"));
    const auto name = std::string(base.substr(underscore + 1, base.size() - underscore - 1 - (up ? 7 : 9)));
    ARAGORA_CHECK(migration.name.empty() || migration.name == name);
    migration.name = name;
    (up ? migration.up : migration.down) = normalise(file.text);
    if (up) {
      migration.transactional = migration.up.find("-- aragora: no-transaction") == std::string::npos;
      migration.checksum = crypto::sha256Hex(migration.up);
    }
  }
  std::vector<Migration> result;
  for (auto& [version, migration] : by_version) {
    ARAGORA_CHECK(version == static_cast<int>(result.size()) + 1 && !migration.up.empty());
    result.push_back(std::move(migration));
  }
  return result;
}

const std::vector<Migration>& migrationsFor(database::Engine engine) {
  static const auto postgres = parseMigrations(embeddedMigrations(), "postgres");
  static const auto sqlite = parseMigrations(embeddedMigrations(), "sqlite");
  return engine == database::Engine::Postgres ? postgres : sqlite;
}

}  // namespace aragora::migrate
