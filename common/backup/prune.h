// Retention. The plan is a value: what --dry-run prints is what a real run executes. Kept whatever their age: the
// newest good backup, the newest proven one, what is pinned, and enough that two good ones remain.
#pragma once

#include "common/backup/policy.h"

namespace aragora::backup {

struct PrunePlan {
  struct Item {
    Entry entry;
    bool remove = false;
    std::string reason;
  };
  std::vector<Item> items;  // oldest first
  std::string refusal;      // non-empty: nothing may be removed now, and why
};

// Pure: decides from the entries and the time alone.
// Where a window is promised it begins with the newest good one older than it, which is kept too.
PrunePlan planPrune(const std::vector<Entry>& entries, const Rule& rule, Micros now);
// Executes under the lock (of a local place); answers the ids removed. What is locked against removal elsewhere stays.
std::vector<std::string> executePrune(const Repository& repository, const PrunePlan& plan,
                                      std::chrono::seconds lock_wait);

}  // namespace aragora::backup
