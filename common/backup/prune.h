// Retention. The plan is a value: what --dry-run prints is what a real run executes. Kept whatever their age: the
// newest good backup, the newest proven one, and enough that two good ones remain.
#pragma once

#include "common/backup/repository.h"

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
PrunePlan planPrune(const std::vector<Entry>& entries, std::int64_t retention_days, Micros now);
// The same for base backups: the window that reaches back `window_days` begins with the newest one older than that,
// which is kept too.
PrunePlan planPruneBases(const std::vector<Entry>& entries, std::int64_t window_days, Micros now);
// Executes under the lock; answers the ids removed.
std::vector<std::string> executePrune(const Repository& repository, const PrunePlan& plan);

}  // namespace aragora::backup
