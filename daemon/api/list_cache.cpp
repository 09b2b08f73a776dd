#include "daemon/api/list_cache.h"

namespace aragora::api {

ListCache::Body ListCache::get(const std::string& key, const std::function<std::string()>& render) {
  const auto now = std::chrono::steady_clock::now();
  std::uint64_t generation = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found != entries_.end() && now - found->second.made < kAge) return found->second.body;
    generation = generation_;
  }
  auto body = std::make_shared<const std::string>(render());
  const std::lock_guard lock(mutex_);
  if (generation == generation_) {
    if (entries_.size() >= kMost) entries_.clear();
    entries_[key] = {body, now};
  }
  return body;
}

ListCache::Body ListCache::peek(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(key);
  const bool fresh = found != entries_.end() && std::chrono::steady_clock::now() - found->second.made < kAge;
  return fresh ? found->second.body : nullptr;
}

void ListCache::drop() {
  const std::lock_guard lock(mutex_);
  ++generation_;
  entries_.clear();
}

}  // namespace aragora::api
