// Whether a replay has left out what is in the log: looks for a complete record behind its end.
#include "common/backup/physical/recovery_plan.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr Lsn kPage = 8192;  // XLOG_BLCKSZ
constexpr Lsn kHeader = 24;  // of a page; 40 of a segment's first (PostgreSQL, xlog_internal.h)
constexpr Lsn kLongHeader = 40;
constexpr std::uint32_t kLeastRecord = 24;

Lsn headerAt(Lsn page, std::uint64_t segment_size) { return page % segment_size == 0 ? kLongHeader : kHeader; }

// Where a record of this length ends that begins at `at`; headers of pages lie in between.
Lsn recordEnd(Lsn at, std::uint32_t length, std::uint64_t segment_size) {
  Lsn left = length;
  while (true) {
    const auto room = kPage - at % kPage;
    if (left <= room) return at + left;
    left -= room;
    at = at - at % kPage + kPage;
    at += headerAt(at, segment_size);
  }
}
}  // namespace

std::string leftOut(const WalArchive& archive, const RecoveryPlan& plan, Lsn reached) {
  if (reached >= plan.end || plan.listing.segment_size == 0) return {};
  const auto begin = reached % kPage == 0 ? reached + headerAt(reached, plan.listing.segment_size) : reached;
  const auto tail = archive.bytes(plan.listing, plan.timeline(), reached, plan.end);
  if (tail.find_first_not_of('\0') == std::string::npos && tail.size() == plan.end - reached) return {};
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const auto at = begin - reached + i;
    // Not even its length has arrived.
    if (at >= tail.size()) return {};
    length |= static_cast<std::uint32_t>(static_cast<unsigned char>(tail[at])) << (8 * i);
  }
  if (length >= kLeastRecord && recordEnd(begin, length, plan.listing.segment_size) > plan.end) return {};
  return fmt::format("recovered to {}, the log goes on to {}: {} bytes of it could not be replayed", formatLsn(reached),
                     formatLsn(plan.end), plan.end - reached);
}

}  // namespace aragora::backup
