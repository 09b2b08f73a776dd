#include "common/database/postgres/lsn.h"

#include <fmt/format.h>

#include <charconv>

namespace aragora::database::postgres {

namespace {
constexpr std::size_t kMaxHexDigits = 8;

std::optional<std::uint32_t> parseHex(std::string_view text) {
  std::uint32_t value = 0;
  if (text.empty() || text.size() > kMaxHexDigits) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

std::uint64_t segmentsInFourGigabytes(std::uint64_t segment_size) { return (1ULL << 32) / segment_size; }
}  // namespace

std::string formatLsn(Lsn lsn) { return fmt::format("{:X}/{:X}", lsn >> 32, lsn & 0xffffffffU); }

std::optional<Lsn> parseLsn(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto high = parseHex(text.substr(0, slash));
  const auto low = parseHex(text.substr(slash + 1));
  if (!high || !low) return std::nullopt;
  return static_cast<Lsn>(*high) << 32 | *low;
}

std::string segmentName(const WalSegment& segment, std::uint64_t segment_size) {
  const auto part = segmentsInFourGigabytes(segment_size);
  return fmt::format("{:08X}{:08X}{:08X}", segment.timeline, segment.number / part, segment.number % part);
}

std::optional<WalSegment> parseSegmentName(std::string_view name, std::uint64_t segment_size) {
  if (name.size() != 24 || name.find_first_not_of("0123456789ABCDEF") != std::string_view::npos) return std::nullopt;
  const auto part = segmentsInFourGigabytes(segment_size);
  const auto low = *parseHex(name.substr(16, 8));
  if (low >= part) return std::nullopt;
  return WalSegment{*parseHex(name.substr(0, 8)), *parseHex(name.substr(8, 8)) * part + low};
}

std::string historyName(std::uint32_t timeline) { return fmt::format("{:08X}.history", timeline); }

bool isHistoryName(std::string_view name) {
  return name.size() == 16 && name.substr(8) == ".history" &&
         name.substr(0, 8).find_first_not_of("0123456789ABCDEF") == std::string_view::npos;
}

}  // namespace aragora::database::postgres
