#include "common/backup/prune.h"

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr Micros kDay = 86'400'000'000LL;
constexpr std::size_t kLeastGood = 2;
}  // namespace

PrunePlan planPrune(const std::vector<Entry>& entries, const Rule& rule, Micros now) {
  PrunePlan plan;
  const auto oldest = now - rule.keep_days * kDay;
  const Entry* window_start = nullptr;
  const Entry* newest_good = nullptr;
  const Entry* newest_proven = nullptr;
  std::size_t good = 0;
  for (const auto& entry : entries) {
    if (!entry.good()) continue;
    ++good;
    newest_good = &entry;
    if (rule.window && entry.manifest->finished_at < oldest) window_start = &entry;
    if (entry.proven()) newest_proven = &entry;
    if (entry.manifest->finished_at > now) plan.refusal = fmt::format("the clock is behind backup {}", entry.id);
  }
  if (!entries.empty() && !entries.back().good())
    plan.refusal = fmt::format("the newest backup {} is not good", entries.back().id);
  for (const auto& entry : entries) {
    PrunePlan::Item item{entry, false, {}};
    if (!entry.manifest) {
      item.reason = "kept: it cannot be read, look at it first";
    } else if (entry.pinned) {
      item.reason = fmt::format("kept: pinned ({})", printable(*entry.pinned, 100));
    } else if (entry.manifest->finished_at >= oldest) {
      item.reason = fmt::format("kept: younger than {} days", rule.keep_days);
    } else if (window_start != nullptr && entry.id == window_start->id) {
      item.reason = fmt::format("kept: recovery within the last {} days begins with it", rule.keep_days);
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
      item.reason = fmt::format("removed: older than {} days", rule.keep_days);
      if (entry.good()) --good;
    }
    plan.items.push_back(std::move(item));
  }
  return plan;
}

std::vector<std::string> executePrune(const Repository& repository, const PrunePlan& plan,
                                      std::chrono::seconds lock_wait) {
  const bool local = repository.directory().isLocal();
  std::optional<FileLock> lock;
  if (local) lock = repository.lock(lock_wait);
  std::vector<std::string> removed;
  for (const auto& item : plan.items) {
    if (!item.remove) continue;
    try {
      repository.remove(item.entry);
    } catch (const Error& error) {
      if (local || error.code() != Code::Permission) throw;
      log::warning("{} stays: {}", item.entry.id, error.what());
      continue;
    }
    removed.push_back(item.entry.id);
  }
  if (local) repository.removeLeftovers();
  return removed;
}

}  // namespace aragora::backup
