#include "common/database/sqlite/sqlite_database.h"

#include <unistd.h>

#include <sqlite3.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/log.h"

namespace aragora::database::sqlite {

namespace {
constexpr std::size_t kQueueLimit = 10'000;
constexpr std::size_t kGroupLimit = 256;
constexpr int kCheckpointPages = 2000;  // 8 MiB of 4 KiB pages
}  // namespace

SqliteDatabase::SqliteDatabase(const Target& target)
    : target_(target),
      writer_((makeDirectories(target.path.parent_path(), 0750), target.path), OpenMode::Create),
      checkpointer_(target.path, OpenMode::ReadWrite),
      writer_thread_([this] { runWriter(); }) {}

void SqliteDatabase::countPages() {
  // The hook reports the length of the WAL after each commit of this connection.
  sqlite3_wal_hook(
      writer_.handle(),
      [](void* self, sqlite3*, const char*, int pages) {
        auto& database = *static_cast<SqliteDatabase*>(self);
        database.wal_pages_ += std::max(1, pages - database.last_wal_length_);
        database.last_wal_length_ = pages;
        return SQLITE_OK;
      },
      this);
}

SqliteDatabase::~SqliteDatabase() {
  {
    const std::lock_guard lock(queue_mutex_);
    stopping_ = true;
  }
  work_arrived_.notify_all();
  writer_thread_.join();
  try {
    checkpointHoldingWriteLock(writer_, checkpointer_);
  } catch (const std::exception& error) {
    log::debug("last checkpoint skipped: {}", error.what());  // the WAL keeps everything
  }
}

void SqliteDatabase::read(const Work& work) {
  noticing([&] {
    withReader([&](SqliteConnection& connection) {
      Transaction transaction(connection);
      work(connection);
      transaction.commit();
    });
  });
}

// A statement alone is its own snapshot.
Rows SqliteDatabase::query(std::string_view sql, const Values& values) {
  return noticing([&] { return ask(sql, values); });
}

Rows SqliteDatabase::ask(std::string_view sql, const Values& values) {
  Rows rows;
  withReader([&](SqliteConnection& connection) { rows = connection.query(sql, values); });
  return rows;
}

std::unique_ptr<SqliteConnection> SqliteDatabase::takeReader() {
  std::unique_lock lock(readers_mutex_);
  WaitingLine::Place place(readers_line_);
  const auto ready = [&] { return place.first() && (!idle_readers_.empty() || readers_open_ < target_.pool_size); };
  place.wait(lock, {}, deadlineIn(target_.acquire_timeout), ready);
  if (!ready())
    throw Error(Code::Overloaded, "no database connection became free in time",
                "try again, or raise database.pool_size");
  if (idle_readers_.empty()) {
    ++readers_open_;
    return nullptr;
  }
  auto connection = std::move(idle_readers_.back());
  idle_readers_.pop_back();
  return connection;
}

void SqliteDatabase::withReader(const std::function<void(SqliteConnection&)>& use) {
  auto connection = takeReader();
  const auto giveBack = [&] {
    const std::lock_guard lock(readers_mutex_);
    if (connection)
      idle_readers_.push_back(std::move(connection));
    else
      --readers_open_;
    readers_line_.wakeFirst();
  };
  try {
    if (!connection) connection = std::make_unique<SqliteConnection>(target_.path, OpenMode::ReadWrite);
    use(*connection);
  } catch (...) {
    giveBack();
    throw;
  }
  giveBack();
}

void SqliteDatabase::write(const Work& work) {
  std::future<void> done;
  {
    const std::lock_guard lock(queue_mutex_);
    if (queue_.size() >= kQueueLimit || stopping_)
      throw Error(Code::Overloaded, "the write queue is full", "try again");
    queue_.emplace_back();
    queue_.back().work = &work;
    done = queue_.back().done.get_future();
  }
  work_arrived_.notify_one();
  noticing([&] { done.get(); });  // bounded: the writer answers every job, busy_timeout limits its waits
}

void SqliteDatabase::runWriter() {
  countPages();
  while (true) {
    std::deque<Job> group;
    {
      std::unique_lock lock(queue_mutex_);
      work_arrived_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      while (!queue_.empty() && group.size() < kGroupLimit) {
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    }
    commitGroup(group);
    checkpointWhenDue();
  }
}

void SqliteDatabase::commitGroup(std::deque<Job>& group) {
  std::vector<std::exception_ptr> failures(group.size());
  try {
    Transaction transaction(writer_, "BEGIN IMMEDIATE");
    for (std::size_t i = 0; i < group.size(); ++i) {
      writer_.query("SAVEPOINT job", {});
      try {
        (*group[i].work)(writer_);
        writer_.query("RELEASE job", {});
      } catch (...) {
        failures[i] = std::current_exception();
        writer_.query("ROLLBACK TO job", {});
        writer_.query("RELEASE job", {});
      }
    }
    transaction.commit();
  } catch (...) {
    // Nothing of the group is durable: every caller hears it.
    for (auto& failure : failures) {
      if (!failure) failure = std::current_exception();
    }
  }
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (failures[i])
      group[i].done.set_exception(failures[i]);
    else
      group[i].done.set_value();
  }
}

void SqliteDatabase::checkpointWhenDue() {
  if (wal_pages_ < kCheckpointPages) return;
  try {
    // While a reader holds an old snapshot the checkpoint is partial; it is tried again after as many pages more.
    checkpointHoldingWriteLock(writer_, checkpointer_);
    wal_pages_ = 0;
  } catch (const Error& error) {
    if (error.code() == Code::StorageFull) return;  // the writes say it
    log::warning("checkpoint of {} failed: {}", target_.path.string(), error.what());
  }
}

void SqliteDatabase::ping() { ask("SELECT 1 FROM sqlite_schema LIMIT 1", {}); }

// What a write needs, looked at without one: a probe must not wait for the writer.
std::string SqliteDatabase::whyReadOnly() {
  if (target_.path == ":memory:") return {};
  for (const auto& path : {target_.path, target_.path.parent_path()}) {
    if (::access(path.c_str(), W_OK) != 0) return fmt::format("{}: {}", path.string(), systemError(errno));
  }
  return {};
}

std::string SqliteDatabase::version() { return fmt::format("SQLite {}", sqlite3_libversion()); }

Database::PoolState SqliteDatabase::pool() const {
  const std::lock_guard lock(readers_mutex_);
  return {target_.pool_size, target_.pool_size - readers_open_ + idle_readers_.size()};
}

}  // namespace aragora::database::sqlite
