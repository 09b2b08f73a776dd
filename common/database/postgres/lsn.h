// Positions in PostgreSQL's write-ahead log and the names of its files (PostgreSQL documentation, "WAL Internals").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aragora::database::postgres {

using Lsn = std::uint64_t;

std::string formatLsn(Lsn lsn);                      // 16/B374D848
std::optional<Lsn> parseLsn(std::string_view text);  // nullopt for anything else

struct WalSegment {
  std::uint32_t timeline = 0;
  std::uint64_t number = 0;  // position / segment size
  friend auto operator<=>(const WalSegment&, const WalSegment&) = default;
};

// 24 hex digits: timeline, high and low part of the number.
std::string segmentName(const WalSegment& segment, std::uint64_t segment_size);
std::optional<WalSegment> parseSegmentName(std::string_view name, std::uint64_t segment_size);
std::string historyName(std::uint32_t timeline);  // 00000002.history
bool isHistoryName(std::string_view name);

}  // namespace aragora::database::postgres
