// What the backends say, asked once and shared by the checks that need it. Private to common/checks.
#pragma once

#include <future>

#include "common/checks/check.h"
#include "common/drill/recovery_findings.h"
#include "common/migrate/migrator.h"

namespace aragora::checks {

struct DatabaseFacts {
  std::optional<Error> failure;  // connecting failed
  std::string version;           // "PostgreSQL 15.4"
  int version_number = 0;        // 150004
  std::int64_t max_connections = 0;
  std::int64_t slots = 0;          // replication slots that keep log
  std::int64_t slot_keep_mb = -1;  // max_slot_wal_keep_size, -1: without a limit
  bool commits_wait = false;       // for the receiver of the log: synchronous_standby_names names it
  Micros server_clock = 0;
  Micros asked_at = 0;
  std::optional<migrate::Status> migrations;
  std::optional<std::string> key_check;
  bool exists = true;  // SQLite: the file
  std::string role;
  std::string name;      // of the database
  std::string schema;    // where tables would be made, empty when there is none
  std::string encoding;  // UTF8
  bool standby = false;
  bool read_only = false;        // default_transaction_read_only
  bool makes_databases = false;  // CREATEDB
  bool makes_tables = false;     // CREATE on `schema`
  bool makes_schemas = false;    // CREATE on the database
  bool reaches_another = false;  // CONNECT on postgres or template1
};

// What is said of the backups; neither when there is no key to read them with.
struct RecoveryFacts {
  std::optional<Error> failure;
  std::optional<std::vector<drill::Statement>> statements;
  bool no_backup = false;  // of no kind
};

struct Facts {
  std::shared_future<DatabaseFacts> database;
  std::shared_future<RecoveryFacts> recovery;
};

DatabaseFacts askDatabase(const config::Config& config);
// `ask`: also the server and the place elsewhere.
RecoveryFacts lookAtBackups(const config::Config& config, bool ask);

}  // namespace aragora::checks
