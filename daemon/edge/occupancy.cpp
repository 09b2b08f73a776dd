#include "daemon/edge/occupancy.h"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>

namespace aragora::edge {

namespace {
constexpr std::size_t kFreeShare = 16;  // of so many places one stays free, whoever takes the others
constexpr std::size_t kLeastHeadroom = 64;
constexpr std::size_t kLeastPlaces = 16;

// An IPv4 address, or the network that one customer gets of IPv6 (RFC 6177).
std::string keyOf(const std::string& peer) {
  const auto ip = net::Ip::parse(peer);
  if (!ip) return peer;
  return {reinterpret_cast<const char*>(ip->bytes.data()), ip->v6 ? 8U : 4U};
}
}  // namespace

Occupancy::Occupancy(OccupancyOptions options) : options_(std::move(options)), proxies_(options_.proxies) {}

std::size_t Occupancy::mostOf(const std::string& peer) const {
  const auto all_but_some = options_.most - options_.most / kFreeShare;
  if (options_.most_of_one == 0 || net::anyContains(*proxies_.get(), peer)) return all_but_some;
  return std::min(options_.most_of_one, options_.most / 2);
}

Occupancy::Entered Occupancy::enter(const std::string& peer) {
  if (taken_ >= options_.most) return {nullptr, Crowded::AllTaken};
  auto key = keyOf(peer);
  const auto most = mostOf(peer);
  {
    const std::lock_guard lock(mutex_);
    auto& taken = by_address_[key];
    if (taken >= most) return {nullptr, Crowded::ByThisAddress};
    ++taken;
  }
  ++taken_;
  std::shared_ptr<void> place(static_cast<void*>(this),  // what it points to is of no interest, but not null
                              [self = shared_from_this(), key = std::move(key)](void*) { self->leave(key); });
  return {std::move(place), Crowded::No};
}

void Occupancy::leave(const std::string& key) {
  --taken_;
  const std::lock_guard lock(mutex_);
  const auto found = by_address_.find(key);
  if (--found->second == 0) by_address_.erase(found);
}

std::size_t connectionsThatFit(std::size_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return wanted;
  std::error_code ignored;
  const std::filesystem::directory_iterator open("/proc/self/fd", ignored);
  const auto files = static_cast<std::size_t>(limit.rlim_cur);
  const auto needed =
      static_cast<std::size_t>(std::distance(begin(open), end(open))) + std::max(kLeastHeadroom, files / 8);
  return std::min(wanted, files > needed + kLeastPlaces ? files - needed : kLeastPlaces);
}

}  // namespace aragora::edge
