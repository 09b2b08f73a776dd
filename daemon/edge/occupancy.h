// Who holds how many of the connections there may be: one address never all of them, whoever it is. Proxies that are
// trusted stand for many clients and may take most. Thread-safe; kept by the listener and by the places it gave.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/reloadable.h"
#include "common/net/address.h"

namespace aragora::edge {

struct OccupancyOptions {
  std::size_t most = 12000;
  std::size_t most_of_one = 0;      // of an address (a /64 for IPv6); 0: no limit but the one that some stay free
  std::vector<net::Block> proxies;  // that are not held to it
};

enum class Crowded { No, AllTaken, ByThisAddress };

class Occupancy : public std::enable_shared_from_this<Occupancy> {
 public:
  explicit Occupancy(OccupancyOptions options);

  struct Entered {
    std::shared_ptr<void> place;  // free again when it is let go of; null when there is none. Shared with nobody
    Crowded crowded = Crowded::No;
  };
  Entered enter(const std::string& peer);
  std::size_t taken() const { return taken_; }
  std::size_t most() const { return options_.most; }
  void trust(std::vector<net::Block> proxies) { proxies_.set(std::move(proxies)); }

 private:
  void leave(const std::string& key);
  std::size_t mostOf(const std::string& peer) const;
  OccupancyOptions options_;
  Reloadable<std::vector<net::Block>> proxies_;
  std::atomic<std::size_t> taken_{0};
  std::mutex mutex_;
  std::unordered_map<std::string, std::size_t> by_address_;
};

// What is left of `wanted` when open files are counted: some are this process's already, some it needs for its work.
std::size_t connectionsThatFit(std::size_t wanted);

}  // namespace aragora::edge
