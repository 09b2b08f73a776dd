#include "common/checks/facts.h"

#include "common/base/file.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/deployment/deployment.h"
#include "common/store/settings.h"

namespace aragora::checks {

namespace {
bool hasTable(database::Connection& connection, const std::string& name) {
  return connection.engine() == database::Engine::Postgres
             ? !connection.query("SELECT to_regclass($1)", {name})[0].isNull(0)
             : !connection.query("SELECT 1 FROM sqlite_schema WHERE name = $1", {name}).empty();
}
}  // namespace

namespace {
void askRights(database::Connection& connection, DatabaseFacts& facts) {
  const auto row = connection.query(
      "SELECT current_user, current_database(), coalesce(current_schema(), ''), "
      "(SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()), "
      "pg_is_in_recovery()::int, (current_setting('default_transaction_read_only') = 'on')::int, "
      "(SELECT (rolsuper OR rolcreatedb)::int FROM pg_roles WHERE rolname = current_user), "
      "coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)::int, "
      "has_database_privilege(current_database(), 'CREATE')::int, "
      "(SELECT count(*) FROM pg_database WHERE datname IN ('postgres', 'template1') AND datname <> current_database() "
      "AND datallowconn AND has_database_privilege(oid, 'CONNECT'))",
      {})[0];
  facts.role = row.text(0);
  facts.name = row.text(1);
  facts.schema = row.text(2);
  facts.encoding = row.text(3);
  facts.standby = row.integer(4) != 0;
  facts.read_only = row.integer(5) != 0;
  facts.makes_databases = row.integer(6) != 0;
  facts.makes_tables = row.integer(7) != 0;
  facts.makes_schemas = row.integer(8) != 0;
  facts.reaches_another = row.integer(9) != 0;
}
}  // namespace

DatabaseFacts askDatabase(const config::Config& config) {
  DatabaseFacts facts;
  try {
    auto target = deployment::databaseTarget(config);
    target.application_name = "aragora validate-env";
    if (target.engine == database::Engine::Sqlite) {
      facts.exists = fileExists(target.path);
      if (!facts.exists) return facts;  // opening would create it
    }
    const auto connection = database::connect(target, database::OpenMode::ReadWrite);
    if (target.engine == database::Engine::Postgres) {
      const auto row = connection->query(
          "SELECT current_setting('server_version'), current_setting('server_version_num'), "
          "current_setting('max_connections'), "
          "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint, "
          "(SELECT count(*) FROM pg_replication_slots WHERE restart_lsn IS NOT NULL), "
          "(SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'), "
          "(current_setting('synchronous_standby_names') ~ 'aragora_wal|[*]')::int",
          {})[0];
      facts.asked_at = nowMicros();
      facts.version = "PostgreSQL " + split(row.text(0), ' ').front();
      facts.version_number = static_cast<int>(row.integer(1));
      facts.max_connections = row.integer(2);
      facts.server_clock = row.integer(3);
      facts.slots = row.integer(4);
      facts.slot_keep_mb = row.integer(5);
      facts.commits_wait = row.integer(6) != 0;
      askRights(*connection, facts);
    } else {
      facts.version = "SQLite " + connection->query("SELECT sqlite_version()", {})[0].text(0);
    }
    facts.migrations = migrate::Migrator(target).status();
    if (hasTable(*connection, "settings")) facts.key_check = store::readSetting(*connection, store::kKeyCheck);
  } catch (const Error& error) {
    facts.failure = error;
  }
  return facts;
}

RecoveryFacts lookAtBackups(const config::Config& config, bool ask) {
  RecoveryFacts facts;
  try {
    const auto keyring = deployment::backupKeyring(config);
    if (!keyring) return facts;
    const auto objectives = drill::objectivesOf(config);
    const auto state = drill::recoveryState(
        {config.backupDirectory(), objectives, &*keyring, deployment::databaseTarget(config), ask, ask, {}});
    facts.no_backup = std::all_of(state.kinds.begin(), state.kinds.end(),
                                  [](const drill::KindState& kind) { return kind.count == 0; });
    facts.statements = drill::judge(state, objectives);
  } catch (const Error& error) {
    facts.failure = error;
  }
  return facts;
}

}  // namespace aragora::checks
