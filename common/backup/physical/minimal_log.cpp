#include "common/backup/physical/minimal_log.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/base/log.h"

namespace aragora::backup {

void MinimalLog::lookOnce(Lsn flushed) {
  if (!away_ || flushed < away_->to || looking_.valid()) return;
  looking_ = std::async(std::launch::async, [this, stretch = *away_]() -> std::optional<WalListing::Interruption> {
    try {
      const interrupt::Minding minding(stop_);
      const auto listing = archive_.listing();
      const auto at = firstMinimal(archive_, listing, stretch, stop_);
      if (!at) return std::nullopt;
      return WalListing::Interruption{stretch.timeline, *at, false, "wal_level was minimal"};
    } catch (const Error& error) {  // recovery would find out
      if (!stop_.turned()) log::warning("whether wal_level was minimal in between could not be seen: {}", error.what());
      return std::nullopt;
    }
  });
  away_.reset();
}

std::optional<WalListing::Interruption> MinimalLog::found() {
  if (!looking_.valid() || looking_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return std::nullopt;
  auto found = looking_.get();
  if (!found) return std::nullopt;
  const auto known = archive_.listing().interruptions;
  const bool recorded =
      std::any_of(known.begin(), known.end(), [&](const auto& one) { return one.after == found->after; });
  return recorded ? std::nullopt : found;
}

}  // namespace aragora::backup
