#include "common/migrate/migrator.h"

#include <unistd.h>

#include <regex>
#include <thread>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/ids.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/migrate/run_lock.h"
#include "common/migrate/table_locks.h"

namespace aragora::migrate {

using database::Connection;
using database::Engine;
using database::Transaction;

namespace {
constexpr auto kCommitTimeout = std::chrono::minutes(5);  // of a disk that is busy

std::string appliedBy() {
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  return fmt::format("{} pid {}", host, ::getpid());
}

std::string sqlState(const Error& error) {
  const auto* details = error.details().if_object();
  return details != nullptr ? jsonTextOr(*details, "sqlstate", "") : "";
}
}  // namespace

Migrator::Migrator(database::Target target, Options options)
    : target_(std::move(target)), options_(std::move(options)) {
  if (options_.migrations.empty()) options_.migrations = migrationsFor(target_.engine);
  target_.application_name = fmt::format("aragora migrate {}", instanceName()).substr(0, 63);
}

void Migrator::say(const std::string& message) {
  if (options_.on_message) options_.on_message(message);
}

void Migrator::reach(const Migration& migration, std::size_t statement, std::size_t of) {
  if (options_.progress != nullptr) options_.progress->reach(statement);
  if (options_.on_statement) options_.on_statement(migration, statement, of);
}

std::unique_ptr<Connection> Migrator::connectForWork() {
  auto target = target_;
  target.statement_timeout = std::max<std::chrono::milliseconds>(target.statement_timeout, kCommitTimeout);
  auto connection = database::connect(target, database::OpenMode::Create);
  if (target_.engine == Engine::Postgres && connection->query("SELECT pg_is_in_recovery()", {})[0].text(0) == "t") {
    throw Error(Code::Config, fmt::format("{} is a standby and cannot be migrated", database::describe(target_)),
                "point DATABASE_URL at the primary");
  }
  return connection;
}

namespace {
// Since PostgreSQL 15 only the owner of a database may create in its schema public.
void requireCreate(Connection& connection) {
  const auto row = connection.query(
      "SELECT coalesce(current_schema(), ''), current_user, current_database(), "
      "coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)::int",
      {})[0];
  if (row.integer(3) != 0) return;
  using database::quoteIdentifier;
  const auto schema = row.text(0).empty() ? std::string("public") : row.text(0);
  throw Error(Code::Permission, fmt::format("the role {} may not create tables in schema {}", row.text(1), schema),
              fmt::format("as the owner of database {}: GRANT USAGE, CREATE ON SCHEMA {} TO {}", row.text(2),
                          quoteIdentifier(schema), quoteIdentifier(row.text(1))));
}
}  // namespace

std::string wayBack(int known) {
  return fmt::format(
      "run the newer aragora; or go back with this one, which aragora migrate down --to {} --dry-run shows and the "
      "same "
      "without --dry-run does",
      known);
}

void refuseNewer(const Status& status) {
  if (status.unknown.empty()) return;
  throw Error(Code::Config,
              fmt::format("the database has migration {} ({}), which this version of aragora does not know",
                          status.unknown.back().version, status.unknown.back().name),
              wayBack(status.known));
}

Status Migrator::read(Connection& connection) {
  Status status;
  status.known = options_.migrations.back().version;
  status.applied = history::read(connection);
  std::map<int, const Applied*> by_version;
  for (const auto& applied : status.applied) by_version[applied.version] = &applied;
  for (const auto& migration : options_.migrations) {
    const auto found = by_version.find(migration.version);
    if (found == by_version.end() || !found->second->complete) status.pending.push_back(migration);
    if (found != by_version.end() && found->second->checksum != migration.checksum)
      status.drifted.push_back(*found->second);
    by_version.erase(migration.version);
  }
  for (const auto& [version, applied] : by_version) status.unknown.push_back(*applied);
  // What is incomplete is pending, not applied.
  status.applied.erase(
      std::remove_if(status.applied.begin(), status.applied.end(), [](const Applied& a) { return !a.complete; }),
      status.applied.end());
  return status;
}

Status Migrator::status() {
  if (target_.engine == Engine::Sqlite) {
    if (!fileExists(target_.path)) {  // looking must not create it
      Status status;
      status.known = options_.migrations.back().version;
      status.pending = options_.migrations;
      return status;
    }
  }
  const auto connection = database::connect(target_, database::OpenMode::ReadWrite);
  return read(*connection);
}

void Migrator::refuseDrift(const Status& status) {
  refuseNewer(status);
  if (!status.drifted.empty()) {
    const auto& first = status.drifted.front();
    throw Error(Code::Damaged,
                fmt::format("migration {} ({}) was applied with another content (checksum {}…)", first.version,
                            first.name, first.checksum.substr(0, 12)),
                fmt::format("compare them; if the schema is right: aragora migrate repair --accept {} --reason TEXT",
                            first.version));
  }
}

namespace {
std::size_t pendingUpTo(const Status& status, int to) {
  return static_cast<std::size_t>(std::count_if(status.pending.begin(), status.pending.end(),
                                                [to](const auto& m) { return to == 0 || m.version <= to; }));
}
}  // namespace

std::vector<Applied> Migrator::up(int to) {
  const auto connection = connectForWork();
  RunLock lock(target_, options_.lock_wait, [this](const std::string& message) { say(message); });
  std::vector<Applied> done;
  {
    // Under the lock (PostgreSQL) or the write lock (SQLite).
    Transaction transaction(*connection, target_.engine == Engine::Sqlite ? "BEGIN IMMEDIATE" : "BEGIN");
    if (target_.engine == Engine::Postgres && !read(*connection).pending.empty()) requireCreate(*connection);
    history::create(*connection);
    transaction.commit();
  }
  while (true) {
    const auto status = read(*connection);
    refuseDrift(status);
    if (status.pending.empty() || (to > 0 && status.pending.front().version > to)) return done;
    const auto& next = status.pending.front();
    within(options_.progress,
           fmt::format("migration {} of {}", done.size() + 1, done.size() + pendingUpTo(status, to)));
    lock.stillHeld();
    const auto begun = history::find(*connection, next.version);
    auto applied = apply(*connection, next, begun ? begun->statements_done : 0);
    if (applied.version != 0) done.push_back(std::move(applied));
  }
}

Applied Migrator::apply(Connection& connection, const Migration& migration, int statements_done) {
  const auto started = std::chrono::steady_clock::now();
  Applied record{migration.version, migration.name, migration.checksum, nowMicros(), appliedBy(), 0,
                 statements_done,   true,           migration.down,     {}};
  const auto what = fmt::format("applying {:04}_{}", migration.version, migration.name);
  say(what);
  begin(options_.progress, {.what = what,
                            .total = splitStatements(migration.up, migration.name).size(),
                            .noun = "statement",
                            .even = false});
  if (migration.transactional)
    applyTransactional(connection, migration, record);
  else
    applyStatementwise(connection, migration, record);
  record.duration_ms = static_cast<std::int64_t>(secondsSince(started) * 1000);
  if (record.version != 0) {
    connection.query("UPDATE aragora_migrations SET duration_ms = $2 WHERE version = $1",
                     {std::int64_t{record.version}, record.duration_ms});
  }
  return record;
}

// All statements and the history row in one transaction: after a crash it has happened or not.
void Migrator::applyTransactional(Connection& connection, const Migration& migration, Applied& record) {
  const auto statements = splitStatements(migration.up, migration.name);
  record.statements_done = static_cast<int>(statements.size());
  const bool sqlite = target_.engine == Engine::Sqlite;
  // Inside a transaction the pragma does nothing, so it stands before it.
  if (sqlite) connection.executeScript("PRAGMA foreign_keys=OFF");
  withLockRetries(migration, [&] {
    Transaction transaction(connection, sqlite ? "BEGIN IMMEDIATE" : "BEGIN");
    if (sqlite && history::find(connection, migration.version)) {
      record.version = 0;  // another run was first
      return;
    }
    if (!sqlite) {
      connection.executeScript(
          fmt::format("SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = 0", options_.lock_timeout.count()));
      if (const auto first = lockFirst(statements); !first.empty()) connection.executeScript(first);
    }
    for (std::size_t i = 0; i < statements.size(); ++i) {
      reach(migration, i, statements.size());
      connection.executeScript(statements[i].text, true);
    }
    if (sqlite && !connection.query("PRAGMA foreign_key_check", {}).empty()) {
      throw Error(
          Code::Damaged,
          fmt::format("migration {} would leave rows that violate a foreign key; nothing was changed", migration.name));
    }
    history::insert(connection, record);
    reach(migration, statements.size(), statements.size());
    transaction.commit();
  });
  if (sqlite) connection.executeScript("PRAGMA foreign_keys=ON");
}

// Statement by statement, each recorded, so that a rerun goes on where the last one stopped.
void Migrator::applyStatementwise(Connection& connection, const Migration& migration, Applied& record) {
  const auto statements = splitStatements(migration.up, migration.name);
  record.complete = false;
  if (!history::find(connection, migration.version)) history::insert(connection, record);
  for (auto i = static_cast<std::size_t>(record.statements_done); i < statements.size(); ++i) {
    reach(migration, i, statements.size());
    withLockRetries(migration, [&] {
      if (target_.engine == Engine::Postgres && indexNeedsNoBuild(connection, statements[i].text)) return;
      connection.executeScript(statements[i].text, true);
    });
    connection.query("UPDATE aragora_migrations SET statements_done = $2 WHERE version = $1",
                     {std::int64_t{migration.version}, static_cast<std::int64_t>(i + 1)});
  }
  reach(migration, statements.size(), statements.size());
  connection.query("UPDATE aragora_migrations SET complete = 1 WHERE version = $1", {std::int64_t{migration.version}});
  record.statements_done = static_cast<int>(statements.size());
  record.complete = true;
}

// CREATE INDEX CONCURRENTLY that was interrupted leaves an INVALID index, which IF NOT EXISTS would silently accept.
bool Migrator::indexNeedsNoBuild(Connection& connection, const std::string& sql) {
  static const std::regex kCreate(
      R"(^CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(IF\s+NOT\s+EXISTS\s+)?("?[A-Za-z0-9_]+"?))", std::regex::icase);
  std::smatch match;
  if (!std::regex_search(sql, match, kCreate)) return false;
  const auto index = match[3].str();
  const auto rows =
      connection.query("SELECT i.indisvalid FROM pg_index i WHERE i.indexrelid = to_regclass($1)", {index});
  if (rows.empty()) return false;
  if (rows[0].text(0) == "t") return true;
  say(fmt::format("index {} was left invalid by an interrupted run; building it again", index));
  connection.executeScript(fmt::format("DROP INDEX CONCURRENTLY {}", index), true);
  return false;
}

void Migrator::withLockRetries(const Migration& migration, const std::function<void()>& work) {
  for (int attempt = 1;; ++attempt) {
    try {
      return work();
    } catch (const Error& error) {
      const bool locked = sqlState(error) == "55P03";
      // The backend of an earlier run that was killed may still be building the same index.
      const bool raced = sqlState(error) == "40P01";
      if ((!locked && !raced) || attempt >= options_.lock_tries) {
        if (locked || raced) {
          throw Error(Code::Busy,
                      fmt::format("migration {} could not lock its table in {}; blocked by: {}", migration.name,
                                  counted(attempt, "try"), describeBlockers(target_)),
                      "end those sessions, or run migrate at a quieter time; nothing was changed");
        }
        throw;
      }
      say(fmt::format("{}: table is busy (try {} of {}), blocked by: {}", migration.name, attempt, options_.lock_tries,
                      describeBlockers(target_)));
      std::this_thread::sleep_for(jitter(std::chrono::milliseconds(100 * attempt)));
    }
  }
}

std::vector<Plan> Migrator::plan() {
  std::vector<Plan> plans;
  for (const auto& migration : status().pending) {
    Plan plan{migration, {}};
    for (const auto& statement : splitStatements(migration.up, migration.name)) {
      plan.statements.push_back({statement.text, describeLock(target_.engine, statement.text)});
    }
    plans.push_back(std::move(plan));
  }
  return plans;
}

std::vector<Applied> Migrator::baseline(int to) {
  const auto connection = connectForWork();
  RunLock lock(target_, options_.lock_wait, [this](const std::string& message) { say(message); });
  Transaction transaction(*connection, target_.engine == Engine::Sqlite ? "BEGIN IMMEDIATE" : "BEGIN");
  history::create(*connection);
  const auto status = read(*connection);
  if (!status.applied.empty()) {
    throw Error(Code::Conflict,
                fmt::format("the database already has a migration history (version {})", status.version()),
                "baseline is for a database without one");
  }
  std::vector<Applied> recorded;
  for (const auto& migration : options_.migrations) {
    if (migration.version > to) break;
    Applied record{migration.version,
                   migration.name,
                   migration.checksum,
                   nowMicros(),
                   appliedBy(),
                   0,
                   static_cast<int>(splitStatements(migration.up, migration.name).size()),
                   true,
                   migration.down,
                   "baseline"};
    history::insert(*connection, record);
    recorded.push_back(std::move(record));
  }
  transaction.commit();
  return recorded;
}

void Migrator::repair(int version, const std::string& reason) {
  const auto connection = connectForWork();
  RunLock lock(target_, options_.lock_wait, [this](const std::string& message) { say(message); });
  for (const auto& drifted : read(*connection).drifted) {
    if (drifted.version != version) continue;
    const auto& migration = options_.migrations.at(static_cast<std::size_t>(version - 1));
    connection->query("UPDATE aragora_migrations SET checksum = $2, down_sql = $3, note = $4 WHERE version = $1",
                      {std::int64_t{version}, migration.checksum, migration.down,
                       fmt::format("accepted {} by {} (was {}): {}", toIso(nowMicros()), appliedBy(),
                                   drifted.checksum.substr(0, 12), reason)});
    return;
  }
  throw Error(Code::NoInput, fmt::format("migration {} has not drifted", version), "see: aragora migrate status");
}

void Migrator::wait(std::chrono::milliseconds timeout) {
  const auto deadline = deadlineIn(timeout);
  std::string reason;
  while (true) {
    try {
      const auto found = status();
      if (found.current()) return;
      reason = fmt::format("{} {} pending", counted(found.pending.size(), "migration"),
                           agreeing(found.pending.size(), "is", "are"));
    } catch (const Error& error) {
      if (error.code() != Code::Unreachable && error.code() != Code::Busy) throw;
      reason = error.what();
    }
    if (remaining(deadline).count() == 0)
      throw Error(Code::Unreachable, fmt::format("gave up waiting: {}", reason), "run: aragora migrate");
    std::this_thread::sleep_for(jitter(std::chrono::milliseconds(200)));
  }
}

}  // namespace aragora::migrate
