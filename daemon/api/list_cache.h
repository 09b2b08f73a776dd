// Rendered list bodies by query. Dropped as a whole on every write of this instance; entries also age out after a
// second, which bounds what another instance's writes can leave stale. At most 256 bodies. Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace aragora::api {

class ListCache {
 public:
  using Body = std::shared_ptr<const std::string>;  // shared with the connections that are writing it
  // A body made while a write happened is handed out once and not kept.
  Body get(const std::string& key, const std::function<std::string()>& render);
  // Only what is kept and fresh; nullptr otherwise.
  Body peek(const std::string& key);
  void drop();

 private:
  static constexpr std::size_t kMost = 256;
  static constexpr std::chrono::seconds kAge{1};
  struct Entry {
    Body body;
    std::chrono::steady_clock::time_point made;
  };
  std::mutex mutex_;
  std::uint64_t generation_ = 0;
  std::map<std::string, Entry> entries_;
};

}  // namespace aragora::api
