// The migrations that are compiled into the binary.
#pragma once

#include <string>
#include <vector>

#include "common/base/embedded_file.h"
#include "common/database/connection.h"
#include "common/migrate/lexer.h"

namespace aragora::migrate {

struct Migration {
  int version = 0;
  std::string name;
  std::string up;
  std::string down;
  bool transactional = true;  // false: «-- aragora: no-transaction» stands in the file
  std::string checksum;       // SHA-256 (hex) of the normalised up text
};

const std::vector<EmbeddedFile>& embeddedMigrations();  // generated
// Sorted by version; gaps and duplicates abort (a bug of the build).
const std::vector<Migration>& migrationsFor(database::Engine engine);
// The same from other files: `<anything>/NNNN_name.up.sql` and `.down.sql`; for tests.
std::vector<Migration> parseMigrations(const std::vector<EmbeddedFile>& files, std::string_view folder);

}  // namespace aragora::migrate
