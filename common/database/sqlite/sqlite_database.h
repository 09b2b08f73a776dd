// The embedded database of a process. One writer thread takes all writes and commits them in groups: many callers, one
// fsync; each piece of work runs in its own savepoint, so that one failure does not undo its neighbours. Readers use
// connections of their own and see the last commit. The writer thread is also the only checkpointer.
#pragma once

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

#include "common/database/database.h"
#include "common/database/sqlite/sqlite_connection.h"
#include "common/database/waiting_line.h"

namespace aragora::database::sqlite {

class SqliteDatabase : public Database {
 public:
  explicit SqliteDatabase(const Target& target);
  ~SqliteDatabase() override;

  Engine engine() const override { return Engine::Sqlite; }
  void read(const Work& work) override;
  Rows query(std::string_view sql, const Values& values) override;
  // Error(Overloaded) when more than 10,000 writes wait.
  void write(const Work& work) override;
  void ping() override;
  std::string whyReadOnly() override;
  std::string version() override;
  PoolState pool() const override;

 private:
  struct Job {
    const Work* work = nullptr;
    std::promise<void> done;
  };
  Rows ask(std::string_view sql, const Values& values);
  void withReader(const std::function<void(SqliteConnection&)>& use);
  std::unique_ptr<SqliteConnection> takeReader();  // none: one is to be opened
  void runWriter();
  void commitGroup(std::deque<Job>& group);
  void countPages();
  void checkpointWhenDue();

  Target target_;
  SqliteConnection writer_;
  SqliteConnection checkpointer_;
  int wal_pages_ = 0;  // written since the last checkpoint; writer thread only
  int last_wal_length_ = 0;

  mutable std::mutex readers_mutex_;
  WaitingLine readers_line_;
  std::vector<std::unique_ptr<SqliteConnection>> idle_readers_;
  std::size_t readers_open_ = 0;

  std::mutex queue_mutex_;
  std::condition_variable work_arrived_;
  std::deque<Job> queue_;
  bool stopping_ = false;
  std::thread writer_thread_;
};

}  // namespace aragora::database::sqlite
