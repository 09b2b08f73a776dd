// Applies, explains and undoes migrations so that it cannot be done wrong: any number of concurrent runs, a crash at
// any statement, an edited file, a standby and a busy table all end well or with a clear refusal.
//
// PostgreSQL: a dedicated connection holds a transaction-level advisory lock (polled, never blocking, READ COMMITTED,
// so it delays neither VACUUM nor CREATE INDEX CONCURRENTLY and also works through PgBouncer in transaction mode); the
// migrations run on a second connection. The history is read again after locking. SQLite: BEGIN IMMEDIATE, one
// transaction for each migration. Not thread-safe; one owner.
#pragma once

#include <functional>

#include "common/base/progress.h"
#include "common/migrate/history.h"
#include "common/migrate/migration.h"

namespace aragora::migrate {

struct Status {
  std::vector<Applied> applied;
  std::vector<Migration> pending;  // an incomplete one included
  std::vector<Applied> drifted;    // applied with another content than this binary has
  std::vector<Applied> unknown;    // applied by a newer binary
  int known = 0;                   // the newest that this binary has
  int version() const { return applied.empty() ? 0 : applied.back().version; }
  bool current() const { return pending.empty() && drifted.empty(); }
};

// What can be done about a database that a newer binary migrated: the command that goes back is in it.
std::string wayBack(int known);
// Throws Error(Config) when the database is newer than this binary.
void refuseNewer(const Status& status);

struct PlannedStatement {
  std::string sql;
  std::string lock;  // what it takes and what that blocks
};

struct Plan {
  Migration migration;
  std::vector<PlannedStatement> statements;
};

struct Options {
  std::chrono::milliseconds lock_wait = std::chrono::seconds(120);
  std::chrono::milliseconds lock_timeout = std::chrono::seconds(1);  // each try at a busy table
  int lock_tries = 10;
  std::vector<Migration> migrations;  // empty: the embedded ones
  // Told what is being done; also the place where tests interrupt. Called before each statement.
  std::function<void(const Migration&, std::size_t statement, std::size_t of)> on_statement;
  std::function<void(std::string_view)> on_message;
  Progress* progress = nullptr;
};

class Migrator {
 public:
  explicit Migrator(database::Target target, Options options = {});

  Status status();
  std::vector<Plan> plan();
  // Applies everything up to `to` (0: all). Answers what it applied; nothing when another run did it meanwhile.
  std::vector<Applied> up(int to = 0);
  // Undoes everything above `to`, newest first, with the SQL stored when it was applied. Refuses to drop tables that
  // hold rows unless `allow_data_loss`.
  struct DownOptions {
    int to = 0;
    bool allow_data_loss = false;
    bool dry_run = false;
  };
  std::vector<Applied> down(const DownOptions& options);
  // Records versions up to `to` as applied without running them, for a database made by other means.
  std::vector<Applied> baseline(int to);
  // Accepts the present content of a drifted migration, with a reason that is recorded.
  void repair(int version, const std::string& reason);
  // Waits until the database answers and nothing is pending.
  void wait(std::chrono::milliseconds timeout);

 private:
  std::unique_ptr<database::Connection> connectForWork();
  Status read(database::Connection& connection);
  void refuseDrift(const Status& status);
  Applied apply(database::Connection& connection, const Migration& migration, int statements_done);
  void applyTransactional(database::Connection& connection, const Migration& migration, Applied& record);
  void applyStatementwise(database::Connection& connection, const Migration& migration, Applied& record);
  void withLockRetries(const Migration& migration, const std::function<void()>& work);
  void refuseDataLoss(database::Connection& connection, const Applied& applied);
  bool indexNeedsNoBuild(database::Connection& connection, const std::string& sql);
  void say(const std::string& message);
  void reach(const Migration& migration, std::size_t statement, std::size_t of);

  database::Target target_;
  Options options_;
};

}  // namespace aragora::migrate
