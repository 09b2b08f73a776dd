#include "common/database/sqlite/sqlite_connection.h"

#include <sqlite3.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/interrupt.h"
#include "common/base/log.h"
#include "common/base/owner.h"
#include "common/database/database.h"

namespace aragora::database::sqlite {

namespace {
constexpr std::size_t kStatementCache = 128;
constexpr int kStepsBetweenLooks = 20'000;  // of its virtual machine: less than a millisecond

Code codeOf(int extended) {
  switch (extended & 0xff) {
    case SQLITE_CONSTRAINT:
      return Code::Conflict;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Code::Busy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Code::Damaged;
    case SQLITE_CANTOPEN:
      return Code::NoInput;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return Code::Permission;
    case SQLITE_IOERR:
      return Code::Io;
    case SQLITE_INTERRUPT:
      return Code::Interrupted;
    case SQLITE_FULL:
      return Code::StorageFull;
    default:
      return Code::Internal;
  }
}

int openFlags(OpenMode mode) {
  switch (mode) {
    case OpenMode::ReadOnly:
      return SQLITE_OPEN_READONLY;
    case OpenMode::ReadWrite:
      return SQLITE_OPEN_READWRITE;
    case OpenMode::Create:
      return SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  }
  return SQLITE_OPEN_READONLY;
}
}  // namespace

// Polls in fractions of a millisecond. SQLite's own handler soon sleeps 100 ms at a time and starves beside a process
// that commits without a pause: it never looks in the microseconds in which the lock is free.
int SqliteConnection::waitForLock(void* self, int count) {
  auto& connection = *static_cast<SqliteConnection*>(self);
  const auto now = std::chrono::steady_clock::now();
  if (count == 0) connection.waiting_since_ = now;
  if (now - connection.waiting_since_ >= connection.busy_timeout_ || interrupt::due()) return 0;
  std::this_thread::sleep_for(std::chrono::microseconds(100 + count * 37 % 400));
  return 1;
}

SqliteConnection::SqliteConnection(const std::filesystem::path& path, OpenMode mode,
                                   std::chrono::milliseconds busy_timeout)
    : path_(path), busy_timeout_(busy_timeout) {
  // SQLite would leave to root what root makes in the service's directory.
  if (path != ":memory:" && mode == OpenMode::Create && !fileExists(path)) createFile(path, 0, 0640);
  // -wal and -shm: SQLite gives root's to the owner of the database, and everybody else's to nobody.
  if (path != ":memory:" && mode != OpenMode::ReadOnly) requireOurs(path.parent_path());
  const int result = sqlite3_open_v2(path.c_str(), &handle_, openFlags(mode) | SQLITE_OPEN_NOMUTEX, nullptr);
  if (result != SQLITE_OK) {
    const int system = handle_ != nullptr ? sqlite3_system_errno(handle_) : 0;
    const std::string reason = handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(result);
    sqlite3_close(handle_);
    handle_ = nullptr;
    if (system == EACCES || system == EPERM) throwFileError(Code::Permission, "open the SQLite database", path, system);
    throw Error(codeOf(result), fmt::format("cannot open the SQLite database {}: {}", path.string(), reason),
                "check the path and its permissions");
  }
  sqlite3_extended_result_codes(handle_, 1);
  sqlite3_busy_handler(handle_, waitForLock, this);
  // A statement that reads a large table for minutes minds who stops us, too.
  sqlite3_progress_handler(
      handle_, kStepsBetweenLooks, [](void*) { return interrupt::due() ? 1 : 0; }, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  try {
    executeScript(
        "PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF; PRAGMA wal_autocheckpoint=0; "
        "PRAGMA mmap_size=0;");
    // Closing the last connection would checkpoint without the write lock.
    sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    if (mode != OpenMode::ReadOnly) {
      switchToWal();
    }
  } catch (...) {
    for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
    sqlite3_close_v2(handle_);
    throw;
  }
}

// The switch is not covered by the busy handler: it is made only when needed, and tried again while others are at it.
void SqliteConnection::switchToWal() {
  constexpr int kTries = 100;
  for (int attempt = 1;; ++attempt) {
    try {
      if (path_ == ":memory:" || query("PRAGMA journal_mode", {}).at(0).text(0) == "wal") return;
      executeScript("PRAGMA journal_mode=WAL");
      return;
    } catch (const Error& error) {
      if (error.code() != Code::Busy || attempt == kTries) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

SqliteConnection::~SqliteConnection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close_v2(handle_);
}

void SqliteConnection::fail(int result, std::string_view action) {
  if (codeOf(result) == Code::Interrupted || codeOf(result) == Code::Busy) interrupt::check();
  const int system = sqlite3_system_errno(handle_);
  const bool full = codeOf(result) == Code::StorageFull ||
                    (codeOf(result) == Code::Io && (system == ENOSPC || system == EDQUOT));  // of -shm
  throw Failure(Error(full ? Code::StorageFull : codeOf(result),
                      fmt::format("SQLite {}: {} ({})", action, sqlite3_errmsg(handle_), path_.filename().string()),
                      full ? "free space on the file system of " + path_.parent_path().string() : "")
                    .with(json::object{{"sqlite", result}}));
}

sqlite3_stmt* SqliteConnection::prepare(std::string_view sql) {
  std::string text(sql);
  if (const auto found = statements_.find(text); found != statements_.end()) return found->second;
  if (statements_.size() >= kStatementCache) {
    sqlite3_finalize(statements_.begin()->second);
    statements_.erase(statements_.begin());
  }
  sqlite3_stmt* statement = nullptr;
  const int result = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT,
                                        &statement, nullptr);
  if (result != SQLITE_OK) fail(result, "cannot prepare a statement");
  ARAGORA_CHECK(statement != nullptr);
  statements_.emplace(std::move(text), statement);
  return statement;
}

void SqliteConnection::bind(sqlite3_stmt* statement, const Values& values) {
  // $1 is a named parameter for SQLite; its index follows first appearance, not the number.
  for (std::size_t i = 0; i < values.size(); ++i) {
    const int index = sqlite3_bind_parameter_index(statement, fmt::format("${}", i + 1).c_str());
    if (index == 0) continue;
    int result = SQLITE_OK;
    if (const auto* integer = std::get_if<std::int64_t>(&values[i])) {
      result = sqlite3_bind_int64(statement, index, *integer);
    } else if (const auto* number = std::get_if<double>(&values[i])) {
      result = sqlite3_bind_double(statement, index, *number);
    } else if (const auto* text = std::get_if<std::string>(&values[i])) {
      result = sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC, SQLITE_UTF8);
    } else {
      result = sqlite3_bind_null(statement, index);
    }
    if (result != SQLITE_OK) fail(result, "cannot bind a value");
  }
}

Rows SqliteConnection::query(std::string_view sql, const Values& values) {
  sqlite3_stmt* statement = prepare(sql);
  bind(statement, values);
  Rows rows;
  int result = SQLITE_OK;
  while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
    auto& row = rows.emplace_back();
    const int columns = sqlite3_column_count(statement);
    row.reserve(static_cast<std::size_t>(columns));
    for (int i = 0; i < columns; ++i) {
      const int type = sqlite3_column_type(statement, i);
      if (type == SQLITE_NULL) {
        row.add(std::nullopt);
      } else if (type == SQLITE_INTEGER) {  // SQLite would go through its printf
        row.add(fmt::format_int(sqlite3_column_int64(statement, i)).str());
      } else {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, i));
        row.add(std::string(text, static_cast<std::size_t>(sqlite3_column_bytes(statement, i))));
      }
    }
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  if (result != SQLITE_DONE) fail(result, "statement failed");
  return rows;
}

std::int64_t SqliteConnection::execute(std::string_view sql, const Values& values) {
  query(sql, values);
  return sqlite3_changes64(handle_);
}

void SqliteConnection::executeScript(std::string_view sql, bool) {
  const std::string text(sql);
  const int result = sqlite3_exec(handle_, text.c_str(), nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) fail(result, "statement failed");
}

bool checkpointHoldingWriteLock(SqliteConnection& writer, SqliteConnection& checkpointer,
                                const std::function<void()>& when_complete) {
  try {
    writer.executeScript("BEGIN IMMEDIATE");
  } catch (const Error& error) {
    if (error.code() == Code::Busy) return false;
    throw;
  }
  int frames = -1;
  int copied = -1;
  const int result =
      sqlite3_wal_checkpoint_v2(checkpointer.handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, &frames, &copied);
  // (-1, -1) is what a busy second checkpointer gives, and -1 == -1 must not pass for complete.
  const bool complete = result == SQLITE_OK && frames >= 0 && frames == copied;
  const std::string reason = sqlite3_errmsg(checkpointer.handle());
  if (complete && when_complete) when_complete();
  writer.executeScript("ROLLBACK");
  // Waiting helps against other users of the file only, not against a full or broken disk.
  if (result != SQLITE_OK && codeOf(result) != Code::Busy)
    throw Error(codeOf(result), fmt::format("cannot write the WAL back into {}: {}", writer.path().string(), reason));
  return complete;
}

}  // namespace aragora::database::sqlite
