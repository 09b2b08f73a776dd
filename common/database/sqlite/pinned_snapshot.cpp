#include "common/database/sqlite/pinned_snapshot.h"

#include <sqlite3.h>

#include "common/base/error.h"
#include "common/base/interrupt.h"

namespace aragora::database::sqlite {

namespace {
constexpr std::size_t kBlock = 1U << 20;
constexpr auto kRetry = std::chrono::milliseconds(10);

sqlite3_file* fileOf(SqliteConnection& connection) {
  // Never a second open() of the file: closing it would drop all POSIX locks of this process.
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(connection.handle(), "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file == nullptr) {
    throw Error(Code::Internal, "SQLite gave no file pointer");
  }
  return file;
}
}  // namespace

PinnedSnapshot::PinnedSnapshot(const std::filesystem::path& path, Deadline deadline)
    : reader_(path, OpenMode::ReadWrite), queries_(path, OpenMode::ReadWrite) {
  SqliteConnection writer(path, OpenMode::ReadWrite, std::chrono::milliseconds(1000));
  SqliteConnection checkpointer(path, OpenMode::ReadWrite);
  // A reader that starts while the WAL is wholly copied ignores it, and keeps checkpoints off the file.
  const auto pin = [this] {
    for (auto* connection : {&reader_, &queries_}) {
      connection->executeScript("BEGIN");
      connection->query("SELECT 1 FROM sqlite_schema LIMIT 1", {});
    }
  };
  while (!checkpointHoldingWriteLock(writer, checkpointer, pin)) {
    if (remaining(deadline).count() == 0) {
      throw Error(
          Code::Busy,
          fmt::format("no consistent moment of {} was found in time: a reader holds an old snapshot", path.string()),
          "try again");
    }
    interrupt::check();
    std::this_thread::sleep_for(kRetry);
  }
  auto* file = fileOf(reader_);
  sqlite3_int64 size = 0;
  if (file->pMethods->xFileSize(file, &size) != SQLITE_OK)
    throw Error(Code::Io, "cannot read the size of " + path.string());
  page_size_ = static_cast<std::uint32_t>(reader_.query("PRAGMA page_size", {})[0].integer(0));
  const auto pages = static_cast<std::uint64_t>(reader_.query("PRAGMA page_count", {})[0].integer(0));
  size_ = pages * page_size_;
  if (size_ > static_cast<std::uint64_t>(size))
    throw Error(Code::Damaged, fmt::format("{} is shorter than its header says", path.string()));
}

void PinnedSnapshot::read(const std::function<void(std::string_view)>& sink) {
  auto* file = fileOf(reader_);
  std::vector<char> block(kBlock);
  for (std::uint64_t offset = 0; offset < size_; offset += kBlock) {
    interrupt::check();
    const auto count = static_cast<int>(std::min<std::uint64_t>(kBlock, size_ - offset));
    if (file->pMethods->xRead(file, block.data(), count, static_cast<sqlite3_int64>(offset)) != SQLITE_OK) {
      throw Error(Code::Io, fmt::format("cannot read {} at {}", reader_.path().string(), offset));
    }
    sink(std::string_view(block.data(), static_cast<std::size_t>(count)));
  }
}

}  // namespace aragora::database::sqlite
