#include "common/backup/saving_note.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kBlock = 4096;
constexpr std::size_t kProblemLimit = 1500;  // its escapes double it at most

struct flock wholeFile(short kind) {
  struct flock lock {};
  lock.l_type = kind;
  lock.l_whence = SEEK_SET;
  return lock;
}

std::int64_t nanoseconds(const timespec& at) { return at.tv_sec * 1'000'000'000LL + at.tv_nsec; }

std::string blockOf(const SavingStatus& status) {
  const json::object object{{"at", toIso(status.at)},
                            {"saved_through", status.saved_through > 0 ? toIso(status.saved_through) : ""},
                            {"inode", status.seen.inode},
                            {"written_ns", status.seen.written_ns},
                            {"wal_written_ns", status.seen.wal_written_ns},
                            {"full", status.full},
                            {"increment", status.increment},
                            {"interval_seconds", status.interval_seconds},
                            {"failures", status.failures},
                            {"failing_since", status.failing_since > 0 ? toIso(status.failing_since) : ""},
                            {"problem", printable(status.problem, kProblemLimit)}};
  auto text = toJson(object);
  ARAGORA_CHECK(text.size() < kBlock);
  text.resize(kBlock - 1, ' ');
  return text + "\n";
}
}  // namespace

std::optional<DatabaseFiles> lookAtDatabaseFiles(const fs::path& database) {
  struct stat file {};
  if (::stat(database.c_str(), &file) != 0) return std::nullopt;
  DatabaseFiles files{static_cast<std::uint64_t>(file.st_ino), nanoseconds(file.st_mtim), 0};
  struct stat wal {};
  if (::stat((database.string() + "-wal").c_str(), &wal) == 0 && wal.st_size > 0)
    files.wal_written_ns = nanoseconds(wal.st_mtim);
  return files;
}

bool changedSince(const DatabaseFiles& seen, const DatabaseFiles& now) {
  return now.inode != seen.inode || now.written_ns != seen.written_ns ||
         (now.wal_written_ns != 0 && now.wal_written_ns != seen.wal_written_ns);
}

bool SavingNote::open() {
  if (fd_.valid()) return true;
  makeDirectories(path_.parent_path(), 0750);
  Fd fd = createFile(path_, O_RDWR, 0640);
  auto lock = wholeFile(F_WRLCK);
  if (::fcntl(fd.get(), F_OFD_SETLK, &lock) != 0) {
    if (errno == EAGAIN || errno == EACCES) return false;  // another process says it
    throwSystemError(Code::Io, "lock", path_.string(), errno);
  }
  if (const int failed = ::posix_fallocate(fd.get(), 0, kBlock); failed != 0)
    throwSystemError(Code::Io, "lay out", path_.string(), failed);
  fd_ = std::move(fd);
  return true;
}

void SavingNote::write(const SavingStatus& status) {
  try {
    if (!open()) return;
    const auto block = blockOf(status);
    if (::pwrite(fd_.get(), block.data(), block.size(), 0) != static_cast<ssize_t>(block.size()))
      throwSystemError(Code::Io, "write", path_.string(), errno);
    syncFile(fd_.get(), path_);
    told_ = false;
  } catch (const Error& error) {
    if (!told_) log::warning("other processes cannot be told how saving goes: {}", error.what());
    told_ = true;
  }
}

std::optional<SavingStatus> savingStatus(const fs::path& directory) {
  const auto path = directory / "saving.json";
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  const auto value = tryParseJson(readFileIfExists(path, kBlock).value_or(""));
  const auto* object = value ? value->if_object() : nullptr;
  SavingStatus status;
  auto lock = wholeFile(F_WRLCK);
  status.alive = ::fcntl(fd.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  if (object == nullptr) {
    if (!status.alive) return std::nullopt;  // laid out, and its writer died before the first round
    status.problem = fmt::format("{} cannot be read", path.string());
    return status;
  }
  const auto time = [&](const char* key) { return fromIso(jsonTextOr(*object, key, "")).value_or(0); };
  const auto number = [&](const char* key) { return jsonIntegerOr(*object, key, 0); };
  status.at = time("at");
  status.saved_through = time("saved_through");
  status.seen = {static_cast<std::uint64_t>(number("inode")), number("written_ns"), number("wal_written_ns")};
  status.full = jsonTextOr(*object, "full", "");
  status.increment = static_cast<std::uint64_t>(number("increment"));
  status.interval_seconds = number("interval_seconds");
  status.failures = number("failures");
  status.failing_since = time("failing_since");
  status.problem = jsonTextOr(*object, "problem", "");
  return status;
}

}  // namespace aragora::backup
