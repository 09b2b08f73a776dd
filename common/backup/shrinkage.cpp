#include "common/backup/shrinkage.h"

#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::array kWatched = {"debates", "debate_events", "users"};
constexpr std::size_t kLookBack = 7;  // daily ones of a week: the warning stays as long
constexpr std::int64_t kLeastRows = 10;

bool isShrinkage(std::int64_t before, std::int64_t now) {
  if (now == 0) return before > 0;
  return before - now >= kLeastRows && (before - now) * 10 > before;
}
}  // namespace

Counts countsOf(const Manifest& manifest) {
  Counts counts;
  for (const auto& table : manifest.tables) counts[table.name.substr(table.name.rfind('.') + 1)] = table.rows;
  return counts;
}

std::vector<Shrinkage> shrinkage(const std::vector<Entry>& before, const Counts& counted) {
  std::vector<Shrinkage> result;
  for (const auto* table : kWatched) {
    const auto now = counted.find(table);
    if (now == counted.end()) continue;
    Shrinkage most{table, 0, now->second, {}};
    std::size_t looked = 0;
    for (auto entry = before.rbegin(); entry != before.rend() && looked < kLookBack; ++entry) {
      if (!entry->good()) continue;
      ++looked;
      const auto counts = countsOf(*entry->manifest);
      const auto then = counts.find(table);
      if (then == counts.end() || then->second <= most.before) continue;
      most.before = then->second;
      most.backup = entry->id;
    }
    if (isShrinkage(most.before, most.now)) result.push_back(std::move(most));
  }
  return result;
}

std::vector<Shrinkage> shrinkage(const std::vector<Entry>& entries) {
  const auto newest = std::find_if(entries.rbegin(), entries.rend(), [](const Entry& entry) { return entry.good(); });
  if (newest == entries.rend()) return {};
  const std::vector<Entry> before(entries.begin(), std::prev(newest.base()));
  return shrinkage(before, countsOf(*newest->manifest));
}

std::string describe(const Shrinkage& shrunk) {
  return fmt::format("{}: {}, {} in backup {}", shrunk.table, counted(shrunk.now, "row"), shrunk.before, shrunk.backup);
}

}  // namespace aragora::backup
