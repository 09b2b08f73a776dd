#include "common/database/postgres/postgres_connection.h"

// One server for a work of several parts, and what is done there beside the database that is worked on.
namespace aragora::database::postgres {

Target pinned(const Target& target) {
  auto one = target;
  one.url = PostgresConnection(target).server();
  return one;
}

Target maintenance(const Target& target) {
  std::optional<Error> first;
  const auto own = parseUrl(target.url)["dbname"];
  for (const auto* database : {"postgres", "template1", ""}) {
    if (own == database) continue;  // last, under its own name
    auto admin = target;
    if (*database != '\0') admin.url = withDatabase(target.url, database);
    try {
      return pinned(admin);
    } catch (const Error& error) {
      if (!first) first = error;
    }
  }
  throw *first;
}

void dropDatabase(Connection& admin, const std::string& name) {
  admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' "
      "AND pid <> pg_backend_pid()",
      {name});
  admin.query(fmt::format("DROP DATABASE IF EXISTS {}", quoteIdentifier(name)), {});
}

}  // namespace aragora::database::postgres
