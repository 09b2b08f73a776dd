#include "common/backup/physical/wal_pages.h"

#include <cstring>

#include "common/base/log.h"

namespace aragora::backup {

namespace {
constexpr std::uint64_t kPage = 8192;
constexpr std::size_t kHead = 40;              // the long header, which the first page of a segment has
constexpr std::uint16_t kLongHeader = 0x0002;  // XLP_LONG_HEADER

template <typename Number>
Number number(const std::string& head, std::size_t at) {
  Number value = 0;
  std::memcpy(&value, head.data() + at, sizeof value);
  return value;
}
}  // namespace

void PageFilter::take(std::string_view bytes, const ByteSink& sink) {
  while (!bytes.empty() && !ended_) {
    const auto offset = at_ % kPage;
    const auto part = bytes.substr(0, (offset < kHead ? kHead : kPage) - offset);
    at_ += part.size();
    bytes.remove_prefix(part.size());
    if (offset >= kHead) {
      sink(part);
      continue;
    }
    head_ += part;
    if (head_.size() < kHead) continue;
    if (const auto strange = strangeness(); !strange.empty()) {
      log::warning("{}: the page at {} is {}: the log ends before it", where_, at_ - kHead, strange);
      ended_ = true;
      return;
    }
    sink(head_);
    head_.clear();
  }
}

void PageFilter::finish(const ByteSink& sink) const {
  if (!ended_ && !head_.empty()) sink(head_);
}

// A page of zeros is one that was never written.
std::string PageFilter::strangeness() const {
  if (head_.find_first_not_of('\0') == std::string::npos) return {};
  const auto begin = at_ - kHead;
  const auto timeline = number<std::uint32_t>(head_, 4);
  if ((number<std::uint16_t>(head_, 0) & 0xFF00) != 0xD100) return "none of a log";  // XLOG_PAGE_MAGIC of 14 to 18
  if (number<std::uint64_t>(head_, 8) != segment_.number * size_ + begin) return "of another place in the log";
  if (timeline == 0 || timeline > segment_.timeline) return "of another timeline";
  if (begin != 0) return {};
  if ((number<std::uint16_t>(head_, 2) & kLongHeader) == 0) return "not a segment's first";
  if (std::to_string(number<std::uint64_t>(head_, 24)) != system_identifier_) return "of another cluster";
  if (number<std::uint32_t>(head_, 32) != size_) return "of a segment of another size";
  return {};
}

}  // namespace aragora::backup
