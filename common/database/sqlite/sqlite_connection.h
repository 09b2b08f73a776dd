// A SQLite connection as every part of the product opens it: WAL with synchronous=FULL, foreign keys on, no automatic
// checkpoint, no memory map (SQLite 3.40 has the WAL-reset bug fixed in 3.51.3: only one connection may checkpoint, and
// only while the write lock is held). sqlite3.h is included here and in this folder alone.
#pragma once

#include <functional>
#include <unordered_map>

#include "common/database/connection.h"

struct sqlite3;
struct sqlite3_stmt;

namespace aragora::database::sqlite {

class SqliteConnection : public Connection {
 public:
  SqliteConnection(const std::filesystem::path& path, OpenMode mode,
                   std::chrono::milliseconds busy_timeout = std::chrono::milliseconds(5000));
  ~SqliteConnection() override;

  Engine engine() const override { return Engine::Sqlite; }
  Rows query(std::string_view sql, const Values& values) override;
  std::int64_t execute(std::string_view sql, const Values& values) override;
  void executeScript(std::string_view sql, bool unbounded = false) override;
  bool usable() const override { return true; }

  sqlite3* handle() { return handle_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  sqlite3_stmt* prepare(std::string_view sql);
  static int waitForLock(void* self, int count);
  void switchToWal();
  void bind(sqlite3_stmt* statement, const Values& values);
  [[noreturn]] void fail(int result, std::string_view action);

  std::filesystem::path path_;
  std::chrono::milliseconds busy_timeout_;
  std::chrono::steady_clock::time_point waiting_since_;
  sqlite3* handle_ = nullptr;
  std::unordered_map<std::string, sqlite3_stmt*> statements_;
};

// Copies the whole WAL into the database file while holding the write lock on `writer`; `checkpointer` is a second
// connection to the same file. `when_complete` runs while the lock is still held. False when somebody else was in the
// way (try later).
bool checkpointHoldingWriteLock(SqliteConnection& writer, SqliteConnection& checkpointer,
                                const std::function<void()>& when_complete = {});

}  // namespace aragora::database::sqlite
