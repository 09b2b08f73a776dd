#include "common/backup/physical/wal_prefetch.h"

#include <algorithm>

#include "common/backup/physical/private_cluster.h"

namespace aragora::backup {

namespace {
constexpr auto kLookAround = std::chrono::milliseconds(5);  // whether a file was moved away
}  // namespace

WalPrefetch::WalPrefetch(std::vector<std::string> names, Fetch fetch, Options options, const fs::path& base)
    : names_(std::move(names)), fetch_(std::move(fetch)), options_(options), directory_(base), files_(names_.size()) {
  giveToServerUser(directory_.path(), false);
  for (std::size_t i = 0; i < names_.size(); ++i) index_[names_[i]] = i;
  for (unsigned i = 0; i < options_.readers; ++i) readers_.emplace_back([this] { read(); });
}

WalPrefetch::~WalPrefetch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (auto& reader : readers_) reader.join();
}

// The next file of the window that nobody has begun; with the lock held.
std::optional<std::size_t> WalPrefetch::next() {
  const auto end = std::min(files_.size(), first_ + options_.window);
  for (auto i = first_; i < end; ++i) {
    if (files_[i].state == State::Waiting) return i;
  }
  return std::nullopt;
}

// The window moves on behind what is gone; with the lock held.
void WalPrefetch::noticeTaken() {
  const auto end = std::min(files_.size(), first_ + options_.window);
  std::error_code ignored;
  for (auto i = first_; i < end; ++i) {
    if (files_[i].state != State::Ready || fs::exists(directory_.path() / names_[i], ignored)) continue;
    files_[i].state = State::Taken;
    first_ = i + 1;
  }
}

std::size_t WalPrefetch::taken() {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  std::error_code ignored;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const auto state = files_[i].state;
    if (state == State::Taken || (state == State::Ready && !fs::exists(directory_.path() / names_[i], ignored)))
      ++count;
  }
  return count;
}

// Under its name it can be moved away at once: it has to be whole, and the server user's.
bool WalPrefetch::fetch(const std::string& name) const {
  const auto path = directory_.path() / name;
  const auto unready = fs::path(path.string() + ".unready");
  if (!fetch_(name, unready)) return false;
  giveToServerUser(unready, false);
  fs::rename(unready, path);
  return true;
}

// One of the readers looks whether a file was moved away; the others are told.
void WalPrefetch::waitForRoom(std::unique_lock<std::mutex>& lock) {
  if (watched_) return changed_.wait(lock);
  watched_ = true;
  changed_.wait_for(lock, kLookAround);
  watched_ = false;
}

void WalPrefetch::read() {
  std::unique_lock lock(mutex_);
  while (true) {
    std::optional<std::size_t> mine;
    const auto something = [&] {
      if (stopping_) return true;
      noticeTaken();
      return (mine = next()).has_value();
    };
    while (!something()) waitForRoom(lock);
    changed_.notify_all();  // somebody else watches
    if (stopping_) return;
    files_[*mine].state = State::Fetching;
    lock.unlock();
    auto outcome = State::Failed;
    std::exception_ptr failure;
    try {
      outcome = fetch(names_[*mine]) ? State::Ready : State::Absent;
    } catch (...) {  // the thread's boundary: whoever takes the file gets it
      failure = std::current_exception();
    }
    ++fetched_;
    lock.lock();
    files_[*mine] = {outcome, failure};
    changed_.notify_all();
  }
}

bool WalPrefetch::bring(const std::string& name) {
  const auto known = index_.find(name);
  if (known == index_.end()) return fetch(name);
  std::unique_lock lock(mutex_);
  noticeTaken();
  auto& file = files_[known->second];
  // Also back: the checkpoint that a recovery asks for first lies behind where its replay begins.
  first_ = known->second;
  changed_.notify_all();
  // Bounded by what fetching is bounded by.
  changed_.wait(lock, [&] { return file.state != State::Waiting && file.state != State::Fetching; });
  if (file.state == State::Failed) std::rethrow_exception(file.failure);
  if (file.state == State::Absent) return false;
  std::error_code ignored;
  if (file.state == State::Ready && fs::exists(directory_.path() / name, ignored)) return true;
  file.state = State::Taken;
  lock.unlock();
  return fetch(name);
}

}  // namespace aragora::backup
