// What the database allows and the machine has: what would make serve, migrate, backup, verify, drill or restore fail
// later.
#include "common/base/text.h"
#include "common/checks/facts.h"
#include "common/checks/settings_checks.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/database/postgres/program_connection.h"

namespace aragora::checks {

namespace {
using database::quoteIdentifier;

// Commands that production cannot do without; a machine for trying things out can.
Finding lacking(const Context& context, std::string message, std::string hint) {
  return context.config.production() ? misconfigured(std::move(message), "DATABASE_URL", std::move(hint))
                                     : warning(std::move(message), "DATABASE_URL", std::move(hint));
}
}  // namespace

std::vector<Finding> checkDatabaseWritable(const Context& context) {
  if (!context.config.usesPostgres()) return {skipped("Database writes: the database is embedded")};
  const auto& facts = context.facts->database.get();
  if (auto silent = databaseSilent(facts, "Database writes")) return {*silent};
  std::vector<Finding> findings;
  if (facts.standby)
    findings.push_back(
        misconfigured(fmt::format("Database writes: the server of {} is a standby", facts.name), "pg_is_in_recovery()",
                      "point DATABASE_URL at the primary, or name both and target_session_attrs=primary"));
  else if (facts.read_only)
    findings.push_back(misconfigured(fmt::format("Database writes: {} takes none for role {}", facts.name, facts.role),
                                     "default_transaction_read_only",
                                     "set it to off for the server, the database and the role"));
  if (facts.encoding == "SQL_ASCII")
    findings.push_back(warning(
        fmt::format("Database writes: the encoding of {} is SQL_ASCII: what is no UTF-8 is taken too", facts.name),
        "pg_database", "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"));
  else if (facts.encoding != "UTF8")
    findings.push_back(
        misconfigured(fmt::format("Database writes: the encoding of {} is {}, which cannot hold every text", facts.name,
                                  facts.encoding),
                      "pg_database", "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"));
  if (findings.empty()) findings.push_back(ok("Database writes: a primary, UTF-8"));
  return findings;
}

std::vector<Finding> checkDatabaseRights(const Context& context) {
  if (!context.config.usesPostgres()) return {skipped("Database rights: the database is embedded")};
  const auto& facts = context.facts->database.get();
  if (auto silent = databaseSilent(facts, "Database rights")) return {*silent};
  std::vector<Finding> findings;
  const auto role = quoteIdentifier(facts.role);
  if (!facts.makes_databases)
    findings.push_back(lacking(
        context,
        fmt::format("Database rights: the role {} may not create databases: no verify, drill or restore", facts.role),
        fmt::format("as a superuser: ALTER ROLE {} CREATEDB", role)));
  if (!facts.makes_tables && !facts.migrations->pending.empty())
    findings.push_back(misconfigured(
        fmt::format("Database rights: the role {} may not create tables: no migrate", facts.role), "DATABASE_URL",
        fmt::format("as the owner of database {}: GRANT USAGE, CREATE ON SCHEMA {} TO {}", facts.name,
                    quoteIdentifier(facts.schema.empty() ? "public" : facts.schema), role)));
  if (!facts.makes_schemas)
    findings.push_back(warning(
        fmt::format("Database rights: the role {} may not create a schema: verify cannot compare it", facts.role),
        "DATABASE_URL", fmt::format("GRANT CREATE ON DATABASE {} TO {}", quoteIdentifier(facts.name), role)));
  if (!facts.reaches_another)
    findings.push_back(
        lacking(context,
                fmt::format("Database rights: the role {} may connect to neither postgres nor template1: no restore",
                            facts.role),
                fmt::format("as a superuser: GRANT CONNECT ON DATABASE postgres TO {}", role)));
  if (findings.empty())
    findings.push_back(ok(fmt::format("Database rights: {} may do what the commands need", facts.role)));
  return findings;
}

std::vector<Finding> checkDatabasePrograms(const Context& context) {
  if (!context.config.usesPostgres()) return {skipped("Database programs: the database is embedded")};
  const auto& facts = context.facts->database.get();
  if (auto silent = databaseSilent(facts, "Database programs")) return {*silent};
  std::vector<Finding> findings;
  for (const auto* program : {"pg_dump", "pg_restore"}) {
    try {
      database::postgres::requireProgramVersion(program, facts.version_number);
    } catch (const Error& error) {
      findings.push_back(lacking(context, fmt::format("Database programs: {}", error.what()), error.hint()));
    }
  }
  if (findings.empty()) findings.push_back(ok("Database programs: pg_dump and pg_restore are as new as the server"));
  return findings;
}

}  // namespace aragora::checks
