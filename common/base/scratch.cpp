#include "common/base/scratch.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <set>
#include <thread>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora {

namespace {
constexpr std::string_view kPrefix = "aragora-scratch-";
constexpr std::string_view kMark = ".aragora-scratch-of-";
constexpr std::size_t kRandom = 6;
// A socket's path holds 107 bytes; PostgreSQL's is the longest.
constexpr std::size_t kSocketPath = 107 - (sizeof "/aragora-scratch-XXXXXX/.s.PGSQL.5432.lock" - 1);
constexpr int kTries = 100;

std::mutex mutex;
fs::path state;
std::set<fs::path> swept;

fs::path temporary() {
  std::error_code ignored;
  const auto path = fs::temp_directory_path(ignored);
  return path.empty() ? fs::path("/tmp") : path;
}

bool isScratch(const std::string& name) { return name.size() == kPrefix.size() + kRandom && startsWith(name, kPrefix); }

// Whether the path still leads to what is locked: somebody may have taken it for abandoned in between.
bool stillThere(const Fd& fd, const fs::path& path) {
  struct stat ours {};
  struct stat there {};
  return ::fstat(fd.get(), &ours) == 0 && ::lstat(path.c_str(), &there) == 0 && ours.st_ino == there.st_ino &&
         ours.st_dev == there.st_dev;
}

// Servers that end together with a killed run may still write for a moment.
bool removeAll(const fs::path& path) {
  std::error_code failed;
  for (int i = 0; i < kTries; ++i) {
    fs::remove_all(path, failed);
    if (!failed) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return false;
}

}  // namespace

Fd lockDirectory(const fs::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (fd.valid() && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) fd.reset();
  return fd;
}

bool removeIfAbandoned(const fs::path& path) {
  const auto lock = lockDirectory(path);
  if (!lock.valid()) return false;
  if (!removeAll(path)) return false;
  log::warning("removed {}: a run that was killed left it", path.string());
  return true;
}

void keepScratchBelow(const fs::path& state_directory) {
  const std::lock_guard lock(mutex);
  state = state_directory;
}

fs::path scratchDirectory() {
  if (::geteuid() == 0) {
    const char* named = std::getenv("TMPDIR");
    return named != nullptr && *named == '/' ? fs::path(named) : fs::path("/var/tmp");
  }
  const std::lock_guard lock(mutex);
  if (state.empty()) return temporary();
  const auto path = state / "scratch";
  try {
    makeDirectories(state, 0750);
    makeDirectories(path, 0700);
  } catch (const Error&) {
    return temporary();
  }
  return ::access(path.c_str(), W_OK | X_OK) == 0 ? path : temporary();
}

namespace {
void sweepOne(const fs::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return;
  // As root: also what was given to the user that servers run as.
  if (status.st_uid == ::geteuid() || ::geteuid() == 0) removeIfAbandoned(path);
}
}  // namespace

void sweepScratch(const fs::path& base) {
  std::error_code ignored;
  for (const auto& place : std::set{base, temporary()}) {
    std::vector<fs::path> found;
    for (const auto& item : fs::directory_iterator(place, ignored)) {
      if (isScratch(item.path().filename().string())) found.push_back(item.path());
    }
    for (const auto& path : found) sweepOne(path);
    const std::lock_guard lock(mutex);
    swept.insert(place);
  }
}

TemporaryDirectory::TemporaryDirectory(const fs::path& base) {
  auto where = base.empty() ? scratchDirectory() : base;
  if (base.empty() && where.string().size() > kSocketPath) where = temporary();
  bool first = false;
  {
    const std::lock_guard lock(mutex);
    first = swept.count(where) == 0;
  }
  if (first) sweepScratch(where);
  for (int i = 0; i < kTries && !lock_.valid(); ++i) {
    auto pattern = (where / fmt::format("{}XXXXXX", kPrefix)).string();
    if (::mkdtemp(pattern.data()) == nullptr) throwSystemError(Code::CannotCreate, "create directory", pattern, errno);
    path_ = pattern;
    adoptOwner(path_);
    lock_ = lockDirectory(path_);
    if (lock_.valid() && stillThere(lock_, path_)) continue;
    lock_.reset();
    ::rmdir(path_.c_str());  // where nothing can be locked, one a try would stay
  }
  if (!lock_.valid())
    throw Error(Code::CannotCreate, fmt::format("{} cannot be locked", path_.string()),
                "use a file system that has flock(2), with --scratch or TMPDIR");
  obligation_.emplace([path = path_] {
    if (removeAll(path)) interrupt::removed(path.string());
  });
}

TemporaryDirectory::~TemporaryDirectory() {
  if (removeAll(path_))
    interrupt::removed(path_.string());
  else
    log::warning("{} cannot be removed", path_.string());
}

ScratchMark::ScratchMark(const std::string& name) : path_(scratchDirectory() / fmt::format("{}{}", kMark, name)) {
  // Somebody who looks whether it is abandoned holds it for a moment.
  for (int i = 0; i < kTries && !(lock_ = FileLock::tryAcquire(path_)); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

ScratchMark::~ScratchMark() {
  if (lock_) ::unlink(path_.c_str());
}

std::vector<std::string> ScratchMark::abandoned() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(scratchDirectory(), ignored)) {
    const auto name = item.path().filename().string();
    struct stat status {};
    if (!startsWith(name, kMark) || ::lstat(item.path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    if (status.st_uid != ::geteuid()) continue;  // anybody can write there when it is the temporary directory
    const Fd fd(::open(item.path().c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid() || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) continue;
    // Its owner writes into it once he has locked it: one that is empty is being made.
    if (::fstat(fd.get(), &status) == 0 && status.st_size > 0) names.push_back(name.substr(kMark.size()));
  }
  return names;
}

void ScratchMark::forget(const std::string& name) {
  ::unlink((scratchDirectory() / fmt::format("{}{}", kMark, name)).c_str());
}

}  // namespace aragora
