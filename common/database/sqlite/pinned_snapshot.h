// One consistent view of a live SQLite database, read as raw pages while writers go on. For a moment the write lock is
// held and the WAL copied completely into the database file; a reader that starts then ignores the WAL and keeps every
// checkpoint from touching the file until it ends. Writers wait for that moment only; the WAL grows meanwhile.
#pragma once

#include <functional>
#include <string_view>

#include "common/base/clock.h"
#include "common/database/sqlite/sqlite_connection.h"

namespace aragora::database::sqlite {

class PinnedSnapshot {
 public:
  // Throws Error(Busy) when no such moment came before the deadline.
  PinnedSnapshot(const std::filesystem::path& path, Deadline deadline);

  std::uint64_t size() const { return size_; }
  std::uint32_t pageSize() const { return page_size_; }
  // The whole file in order, in blocks of at most 1 MiB.
  void read(const std::function<void(std::string_view)>& sink);
  // The same snapshot for queries, such as counting rows; may be used in another thread beside read().
  Connection& connection() { return queries_; }

 private:
  SqliteConnection reader_;
  SqliteConnection queries_;
  std::uint64_t size_ = 0;
  std::uint32_t page_size_ = 0;
};

}  // namespace aragora::database::sqlite
