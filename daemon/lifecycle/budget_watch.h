// How much of today's budgets is used, for metrics and for the people who are told: of all debates, and of the
// accounts. Looks at most every ten seconds, whoever asks; thread-safe.
#pragma once

#include <functional>
#include <mutex>

#include "common/metrics/metrics.h"
#include "common/notify/event.h"
#include "common/store/budgets.h"

namespace aragora::lifecycle {

class BudgetWatch {
 public:
  using Caps = std::function<store::BudgetCaps()>;  // in force now
  BudgetWatch(database::Database& database, Caps caps) : database_(database), caps_(std::move(caps)) {}

  void collect(metrics::Registry& registry);
  // From 75 percent on of the day's budget, from 90 of an account's; worse at each further threshold.
  // One thread.
  std::vector<notify::Problem> problems();

 private:
  // nullopt: the database is away; it is asked again after the same while.
  std::optional<std::vector<store::Budget>> today();
  database::Database& database_;
  Caps caps_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point looked_at_{};
  std::int64_t day_ = 0;
  std::optional<std::vector<store::Budget>> budgets_;
  std::vector<notify::Problem> last_;
};

}  // namespace aragora::lifecycle
