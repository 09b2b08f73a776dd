#include "common/backup/prune.h"

#include "common/base/error.h"

namespace aragora::backup {

namespace {
constexpr Micros kDay = 86'400'000'000LL;
constexpr std::size_t kLeastGood = 2;
}  // namespace

namespace {
PrunePlan plan(const std::vector<Entry>& entries, std::int64_t retention_days, Micros now, const Entry* window_start) {
  PrunePlan plan;
  const Entry* newest_good = nullptr;
  const Entry* newest_proven = nullptr;
  std::size_t good = 0;
  for (const auto& entry : entries) {
    if (!entry.good()) continue;
    ++good;
    newest_good = &entry;
    if (entry.proven()) newest_proven = &entry;
    if (entry.manifest->finished_at > now) plan.refusal = fmt::format("the clock is behind backup {}", entry.id);
  }
  if (!entries.empty() && !entries.back().good())
    plan.refusal = fmt::format("the newest backup {} is not good", entries.back().id);
  for (const auto& entry : entries) {
    PrunePlan::Item item{entry, false, {}};
    if (!entry.manifest) {
      item.reason = "kept: it cannot be read, look at it first";
    } else if (now - entry.manifest->finished_at <= retention_days * kDay) {
      item.reason = fmt::format("kept: younger than {} days", retention_days);
    } else if (window_start != nullptr && entry.id == window_start->id) {
      item.reason = fmt::format("kept: recovery within the last {} days begins with it", retention_days);
    } else if (newest_good != nullptr && entry.id == newest_good->id) {
      item.reason = "kept: the newest good one";
    } else if (newest_proven != nullptr && entry.id == newest_proven->id) {
      item.reason = "kept: the newest one proved by a restore";
    } else if (entry.good() && good <= kLeastGood) {
      item.reason = fmt::format("kept: at least {} good ones remain", kLeastGood);
    } else if (!plan.refusal.empty()) {
      item.reason = "kept: " + plan.refusal;
    } else {
      item.remove = true;
      item.reason = fmt::format("removed: older than {} days", retention_days);
      if (entry.good()) --good;
    }
    plan.items.push_back(std::move(item));
  }
  return plan;
}

}  // namespace

PrunePlan planPrune(const std::vector<Entry>& entries, std::int64_t retention_days, Micros now) {
  return plan(entries, retention_days, now, nullptr);
}

PrunePlan planPruneBases(const std::vector<Entry>& entries, std::int64_t window_days, Micros now) {
  const Entry* window_start = nullptr;
  for (const auto& entry : entries) {
    if (entry.good() && now - entry.manifest->finished_at > window_days * kDay) window_start = &entry;
  }
  return plan(entries, window_days, now, window_start);
}

std::vector<std::string> executePrune(const Repository& repository, const PrunePlan& plan) {
  const auto lock = repository.lock();
  std::vector<std::string> removed;
  for (const auto& item : plan.items) {
    if (!item.remove) continue;
    repository.remove(item.entry);
    removed.push_back(item.entry.id);
  }
  repository.removeLeftovers();
  return removed;
}

}  // namespace aragora::backup
