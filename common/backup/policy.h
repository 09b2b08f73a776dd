// What is backed up, how often, and how long it is kept: one table from the settings. The planner of what is due and
// the planner of what may go (prune.h) both read it. Values, any thread.
#pragma once

#include "common/backup/repository.h"
#include "common/config/config.h"

namespace aragora::backup {

struct Rule {
  Kind kind = Kind::Full;
  std::chrono::hours every{24};  // 0: whenever it changed
  std::int64_t keep_days = 30;
  bool window = false;  // every instant of the kept days must stay restorable, with the newest one before them
};

using Policy = std::vector<Rule>;

Policy policyOf(const config::Config& config);
const Rule& ruleOf(const Policy& policy, Kind kind);
// Made with a clock that was ahead of this one, or this one is behind.
bool isOfTheFuture(const Entry& entry, Micros now);
// When the next one is due; `now` or before: it is. A tenth of the period is granted, because timers are late and
// early. The newest by sequence counts; dated in the future it was made with another clock and counts as none. Not for
// what goes by changes.
Micros nextDue(const Rule& rule, const std::vector<Entry>& entries, Micros now = nowMicros());

}  // namespace aragora::backup
