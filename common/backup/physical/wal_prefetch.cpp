#include "common/backup/physical/wal_prefetch.h"

namespace aragora::backup {

WalPrefetch::WalPrefetch(std::vector<std::string> names, Fetch fetch, Options options)
    : names_(std::move(names)), fetch_(std::move(fetch)), options_(options), files_(names_.size()) {
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

void WalPrefetch::read() {
  std::unique_lock lock(mutex_);
  while (true) {
    std::optional<std::size_t> mine;
    changed_.wait(lock, [&] { return stopping_ || (mine = next()).has_value(); });
    if (stopping_) return;
    files_[*mine].state = State::Fetching;
    lock.unlock();
    auto outcome = State::Failed;
    std::exception_ptr failure;
    try {
      outcome = fetch_(names_[*mine], directory_.path() / names_[*mine]) ? State::Ready : State::Absent;
    } catch (...) {  // the thread's boundary: whoever takes the file gets it
      failure = std::current_exception();
    }
    ++fetched_;
    lock.lock();
    files_[*mine] = {outcome, failure};
    changed_.notify_all();
  }
}

bool WalPrefetch::take(const std::string& name, const fs::path& destination) {
  const auto known = index_.find(name);
  if (known == index_.end()) return fetch_(name, destination);
  std::unique_lock lock(mutex_);
  auto& file = files_[known->second];
  if (file.state == State::Taken) {
    lock.unlock();
    return fetch_(name, destination);
  }
  first_ = std::max(first_, known->second);
  changed_.notify_all();
  // Bounded by what fetching is bounded by.
  changed_.wait(lock, [&] { return file.state != State::Waiting && file.state != State::Fetching; });
  if (file.state == State::Failed) std::rethrow_exception(file.failure);
  if (file.state == State::Absent) return false;
  file.state = State::Taken;
  first_ = std::max(first_, known->second + 1);
  changed_.notify_all();
  lock.unlock();
  fs::rename(directory_.path() / name, destination);
  return true;
}

}  // namespace aragora::backup
