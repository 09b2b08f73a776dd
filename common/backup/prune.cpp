#include "common/backup/prune.h"

#include "common/backup/ledger.h"

#include "common/backup/physical/wal_archive.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr Micros kDay = 86'400'000'000LL;
constexpr std::size_t kLeastGood = 2;
constexpr std::int64_t kGraceDays = 7;  // of runs that were missed, and of silence that is believed

class Planner {
 public:
  Planner(const std::vector<Entry>& entries, const Rule& rule, const TimeEvidence& evidence)
      : entries_(entries), rule_(rule), now_(evidence.now), evidence_(evidence) {
    for (const auto& entry : entries) {
      if (entry.manifest) evidence_.seen.push_back(entry.manifest->finished_at);
    }
    if (evidence_.confirmed > now_) evidence_.confirmed = 0;  // that was another clock
    evidence_.seen.push_back(evidence_.confirmed);
    evidence_.seen.push_back(now_);
    std::sort(evidence_.seen.begin(), evidence_.seen.end());
  }

  PrunePlan plan() {
    look();
    for (std::size_t i = 0; i < entries_.size(); ++i) decide(i);
    ask();
    return std::move(plan_);
  }

 private:
  // What is made later is no older, even when its clock said so.
  void look() {
    Micros latest = 0;
    for (const auto& entry : entries_) {
      if (entry.manifest && entry.manifest->finished_at <= now_) latest = std::max(latest, entry.manifest->finished_at);
      made_.push_back(entry.manifest && entry.manifest->finished_at > now_ ? entry.manifest->finished_at : latest);
      if (!entry.good()) continue;
      ++good_;
      newest_good_ = &entry;
      if (rule_.window && made_.back() < oldest()) window_start_ = &entry;
      if (entry.proven()) newest_proven_ = &entry;
    }
    if (newest_good_ != nullptr && newest_good_->manifest->finished_at > now_)
      plan_.refusal = fmt::format("the clock is behind backup {}", newest_good_->id);
    if (!entries_.empty() && !entries_.back().good())
      plan_.refusal = fmt::format("the newest backup {} is not good", entries_.back().id);
  }

  void decide(std::size_t at) {
    const auto& entry = entries_[at];
    PrunePlan::Item item{entry, false, {}};
    const bool future = entry.manifest && entry.manifest->finished_at > now_;
    if (!entry.manifest) {
      item.reason = "kept: it cannot be read, look at it first";
    } else if (entry.pinned) {
      item.reason = fmt::format("kept: pinned ({})", printable(*entry.pinned, 100));
    } else if (!future && made_[at] >= oldest()) {
      item.reason = fmt::format("kept: younger than {}", counted(rule_.keep_days, "day"));
    } else if (&entry == window_start_) {
      item.reason = fmt::format("kept: recovery within the last {} begins with it", counted(rule_.keep_days, "day"));
    } else if (&entry == newest_good_) {
      item.reason = "kept: the newest good one";
    } else if (&entry == newest_proven_) {
      item.reason = "kept: the newest one proved by a restore";
    } else if (entry.good() && good_ <= kLeastGood) {
      item.reason = fmt::format("kept: at least {} good ones remain", kLeastGood);
    } else if (!plan_.refusal.empty()) {
      item.reason = "kept: " + plan_.refusal;
    } else {
      item.remove = true;
      item.reason = future ? std::string("removed: dated in the future, and newer ones exist")
                           : fmt::format("removed: older than {}", counted(rule_.keep_days, "day"));
      if (entry.good()) --good_;
    }
    plan_.items.push_back(std::move(item));
  }

  void ask() {
    if (plan_.removals() == 0) return;
    if (const auto* later = datedAfterTheNewest())
      plan_.question = fmt::format("backup {} is dated after {}, which was made later: one of them had a wrong clock",
                                   later->id, newest_good_->id);
    else if (const auto doubt = doubtAboutAge(); !doubt.empty())
      plan_.question = doubt;
    else if (plan_.removals() > ordinaryRemovals(rule_))
      plan_.question = fmt::format("{} of kind {} at once, and an ordinary day removes at most {}",
                                   counted(plan_.removals(), "backup"), name(rule_.kind), ordinaryRemovals(rule_));
  }

  const Entry* datedAfterTheNewest() const {
    for (const auto& entry : entries_) {
      if (entry.manifest && !entry.pinned && newest_good_ != nullptr &&
          entry.manifest->finished_at > newest_good_->manifest->finished_at)
        return &entry;
    }
    return nullptr;
  }

  // A clock that jumped ahead makes everything old at once; nothing was written down in the days that it skipped.
  std::string doubtAboutAge() const {
    for (std::size_t i = 0; i < plan_.items.size(); ++i) {
      if (!plan_.items[i].remove || made_[i] > now_) continue;
      const auto seen = witnessed(made_[i]);
      if (seen < rule_.keep_days * kDay)
        return fmt::format("by this clock {} is {} old, by what was written down since no more than {}", entries_[i].id,
                           counted((now_ - made_[i]) / kDay, "day"), seen / kDay);
    }
    return {};
  }

  // The time from `since` to now, of which no silence counts for more than is believed.
  Micros witnessed(Micros since) const {
    const auto believed = kGraceDays * kDay + 2 * std::chrono::microseconds(rule_.every).count();
    auto at = since;
    Micros sum = 0;
    for (const auto moment : evidence_.seen) {
      if (moment <= at || moment > now_) continue;
      sum += moment <= evidence_.confirmed ? moment - at : std::min(moment - at, believed);
      at = moment;
    }
    return sum;
  }

  Micros oldest() const { return now_ - rule_.keep_days * kDay; }

  const std::vector<Entry>& entries_;
  const Rule& rule_;
  const Micros now_;
  TimeEvidence evidence_;
  PrunePlan plan_;
  std::vector<Micros> made_;  // of each entry, at the latest
  const Entry* window_start_ = nullptr;
  const Entry* newest_good_ = nullptr;
  const Entry* newest_proven_ = nullptr;
  std::size_t good_ = 0;
};
}  // namespace

std::size_t PrunePlan::removals() const {
  return static_cast<std::size_t>(
      std::count_if(items.begin(), items.end(), [](const Item& item) { return item.remove; }));
}

TimeEvidence timeEvidence(const storage::Place& place, const crypto::Keyring& keyring, Micros now) {
  TimeEvidence evidence{now, {}, 0};
  for (const auto kind : allKinds()) {
    for (const auto& entry : Repository(place, &keyring, kind).list()) {
      if (entry.manifest) evidence.seen.push_back(entry.manifest->finished_at);
    }
  }
  if (const auto log = WalArchive(place / "wal", keyring).readStatus()) {
    evidence.seen.push_back(log->updated_at);
    evidence.seen.push_back(log->durable_through);
  }
  return evidence;
}

PrunePlan planPrune(const std::vector<Entry>& entries, const Rule& rule, const TimeEvidence& evidence) {
  return Planner(entries, rule, evidence).plan();
}

std::size_t ordinaryRemovals(const Rule& rule) {
  const auto hours = std::max<std::int64_t>(rule.every.count(), 1);
  const auto daily = rule.every.count() == 0 ? 1 : (24 + hours - 1) / hours;
  return static_cast<std::size_t>(daily * (1 + kGraceDays));
}

std::vector<std::string> executePrune(const Repository& repository, const PrunePlan& plan,
                                      const crypto::Keyring& keyring) {
  const bool local = repository.directory().isLocal();
  std::vector<std::string> removed;
  for (const auto& item : plan.items) {
    if (!item.remove) continue;
    recordRemoval(repository.directory(), repository.kind(), item.entry.id, keyring);
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
