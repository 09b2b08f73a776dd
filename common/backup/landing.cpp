#include "common/backup/landing.h"

#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include "common/backup/artifact.h"
#include "common/backup/source.h"
#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/ids.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/migrate/migrator.h"

namespace aragora::backup {

namespace {
constexpr auto kRestoreTimeout = std::chrono::hours(24);
constexpr Micros kAbandoned = 3'600'000'000LL;
constexpr std::string_view kSign = "aragora scratch ";

Comparison compare(const Manifest& manifest, const std::vector<TableRecord>& restored) {
  std::map<std::string, const TableRecord*> by_name;
  for (const auto& table : restored) by_name[table.name] = &table;
  Comparison result;
  for (const auto& expected : manifest.tables) {
    const auto found = by_name.find(expected.name);
    if (found == by_name.end())
      throw Error(Code::Damaged,
                  fmt::format("backup {}: table {} is missing after the restore", manifest.id, expected.name));
    if (found->second->rows != expected.rows) {
      throw Error(Code::Damaged,
                  fmt::format("backup {}: table {} has {} after the restore, the manifest says {}", manifest.id,
                              expected.name, counted(found->second->rows, "row"), expected.rows));
    }
    if (!expected.digest.empty() && found->second->digest != expected.digest) {
      throw Error(Code::Damaged, fmt::format("backup {}: the content of table {} differs after the restore",
                                             manifest.id, expected.name));
    }
    ++result.tables;
    result.rows += expected.rows;
  }
  return result;
}
}  // namespace

Comparison landSqlite(const Entry& entry, const crypto::Keyring& keyring, const fs::path& file,
                      const std::vector<Increment>& increments, Progress* progress) {
  const auto& record = *entry.manifest->file(content::kDatabase);
  {
    const Fd fd = createFile(file, O_EXCL, 0640);
    begin(progress, {"restoring the database", record.plain_size});
    readArtifact(
        entry.directory, record, keyring.backupIdentities(),
        [&](std::string_view bytes) { writeAll(fd.get(), bytes, file); }, progress);
    syncFile(fd.get(), file);
  }
  applyIncrements(entry, increments, keyring, file, progress);
  begin(progress, {"checking every page"});
  database::Target target;
  target.path = file;
  const auto connection = database::connect(target);
  const auto check = connection->query("PRAGMA integrity_check(1)", {});
  if (check.empty() || check[0].text(0) != "ok")
    throw Error(Code::Damaged, fmt::format("backup {}: SQLite finds the restored database damaged", entry.id));
  if (!connection->query("PRAGMA foreign_key_check", {}).empty())
    throw Error(Code::Damaged, fmt::format("backup {}: the restored database has orphaned rows", entry.id));
  const auto tables = tableRecords(*connection, Tables::All, progress);
  if (increments.empty()) return compare(*entry.manifest, tables);
  Comparison counted;
  for (const auto& table : tables) {
    ++counted.tables;
    counted.rows += table.rows;
  }
  return counted;
}

namespace {
// What a backup was seen with, it is seen with again: search_path decides which tables are ours.
void applySettings(const Entry& entry, const DatabaseProperties& properties, const database::Target& target,
                   Ownership ownership, Comparison& comparison) {
  const auto name = database::postgres::parseUrl(target.url).at("dbname");
  const auto connection = database::connect(target);
  for (const auto& property : properties.properties) {
    if (!property.isSetting()) continue;
    try {
      applyProperty(*connection, name, property);
    } catch (const Error& error) {
      if (ownership == Ownership::AsDumped || error.code() == Code::Unreachable) throw;
      comparison.skipped.emplace_back(error.what());
    }
  }
  const auto version = migrate::Migrator(target).status().version();
  if (version != entry.manifest->migration_version)
    throw Error(Code::Conflict,
                fmt::format("backup {}: its schema is of version {}, what is seen of it here is of version {}",
                            entry.id, entry.manifest->migration_version, version),
                "compare search_path of the role with that of the source: ALTER ROLE … SET search_path");
}
}  // namespace

Comparison landPostgres(const Entry& entry, const crypto::Keyring& keyring, const database::Target& target,
                        Ownership ownership, Progress* progress) {
  const auto properties = propertiesOf(entry, keyring);
  requireRestoreProgram(entry.manifest->server_version);
  DumpLoader loader(target, ownership);
  const auto& record = *entry.manifest->file(content::kDatabase);
  begin(progress, {"loading the database", record.plain_size});
  readArtifact(
      entry.directory, record, keyring.backupIdentities(), [&](std::string_view bytes) { loader.write(bytes); },
      progress);
  begin(progress, {"waiting for pg_restore, which builds the indexes"});
  loader.finish();
  if (!loader.withoutPrivileges().empty() && ownership == Ownership::AsDumped)
    throw Error(Code::Conflict, fmt::format("privileges were not restored: {}", join(loader.withoutPrivileges(), "; ")),
                "restore as a superuser, or as the role that gave them");
  Comparison comparison;
  {
    auto reading = target;
    reading.statement_timeout = kRestoreTimeout;
    const auto connection = database::connect(reading);
    const database::Transaction snapshot(*connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    if (properties) pinSession(*connection);  // earlier versions took digests as the session was
    comparison = compare(*entry.manifest, tableRecords(*connection, Tables::All, progress));
  }
  comparison.skipped = loader.skipped();
  if (properties) applySettings(entry, *properties, target, ownership, comparison);
  return comparison;
}

namespace {
// A server goes on creating a database although whoever asked for it was killed.
void waitUntilMade(database::Connection& connection, const std::string& name) {
  const auto deadline = deadlineIn(std::chrono::seconds(30));
  while (remaining(deadline).count() > 0 &&
         !connection
              .query("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND "
                     "query LIKE 'CREATE DATABASE%' AND position($1 IN query) > 0",
                     {name})
              .empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

void dropAbandoned(const database::Target& admin) {
  try {
    const auto connection = database::connect(admin);
    const auto marked = ScratchMark::abandoned();
    for (const auto& name : marked) waitUntilMade(*connection, name);
    for (const auto& row : connection->query(
             "SELECT datname, NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.datid = d.oid OR a.application_name "
             "= $1 || "
             "d.datname) FROM pg_database d "
             "WHERE datname ~ '^aragora_(verify|drill|restore)_[0-9a-z]{26}$' AND pg_has_role(datdba, 'USAGE')",
             {std::string(kSign)})) {
      const auto name = row.text(0);
      const auto made = ulidTime(name.substr(name.size() - 26));
      const bool dead = std::find(marked.begin(), marked.end(), name) != marked.end();
      const bool old = made && nowMicros() - *made >= kAbandoned && row.text(1) == "t";
      if (!dead && !old) continue;
      log::warning("dropping {}: a run that was killed left it", name);
      database::postgres::dropDatabase(*connection, name);
    }
    for (const auto& name : marked) ScratchMark::forget(name);
  } catch (const Error& error) {
    interrupt::check();
    log::warning("abandoned scratch databases could not be looked for: {}", error.what());
  }
}
}  // namespace

ScratchDatabase::ScratchDatabase(const database::Target& target, std::string name,
                                 const std::optional<DatabaseProperties>& like)
    : admin_(database::postgres::maintenance(target)),
      scratch_(target),
      name_(std::move(name)),
      mark_(name_),
      obligation_([] {}) {
  admin_.application_name = "aragora restore";
  admin_.statement_timeout = std::chrono::minutes(10);
  scratch_.url = database::postgres::withDatabase(admin_.url, name_);
  scratch_.application_name = "aragora restore";
  dropAbandoned(admin_);
  auto sign = admin_;
  sign.application_name = std::string(kSign) + name_;
  sign_ = database::connect(sign);
  const interrupt::Shield shield;  // a statement that is given up may succeed after all, and nobody would drop it
  try {
    // template0: nothing of the site's own template can clash with what is restored.
    database::connect(admin_)->query(
        fmt::format("CREATE DATABASE {} TEMPLATE template0 {}", database::quoteIdentifier(name_),
                    like ? like->create : "ENCODING 'UTF8'"),
        {});
  } catch (const Error& error) {
    if (error.code() == Code::Permission)
      throw Error(Code::CouldNotVerify, fmt::format("no scratch database can be made: {}", error.what()),
                  "grant CREATEDB to the role of DATABASE_URL");
    if (database::postgres::isReadOnly(error))
      throw Error(Code::CouldNotVerify, fmt::format("no scratch database can be made: {}", error.what()),
                  "a standby takes none: point DATABASE_URL at a primary, or use --level 1");
    if (like && error.code() == Code::Internal)
      throw Error(Code::CouldNotVerify, fmt::format("no database like the source's can be made: {}", error.what()),
                  "install the locale on the server (dpkg-reconfigure locales) and restart PostgreSQL");
    throw;
  }
}

void ScratchDatabase::rename(const std::string& name) {
  using database::quoteIdentifier;
  database::connect(admin_)->query(
      fmt::format("ALTER DATABASE {} RENAME TO {}", quoteIdentifier(name_), quoteIdentifier(name)), {});
  name_ = name;
  scratch_.url = database::postgres::withDatabase(scratch_.url, name);
}

ScratchDatabase::~ScratchDatabase() {
  if (kept_) return;
  const interrupt::Shield shield;
  try {
    database::postgres::dropDatabase(*database::connect(admin_), name_);
    interrupt::removed("database " + name_);
  } catch (const std::exception& error) {
    log::warning("scratch database {} could not be dropped: {}", name_, error.what());
  }
}

}  // namespace aragora::backup
