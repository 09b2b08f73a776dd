// Private to common/verify: whether the budgets say what their calls make of them, and are within their caps.
#pragma once

#include <string>

#include "common/database/connection.h"

namespace aragora::verify {

struct BudgetsSeen {
  std::string wrong;  // names the first that is; empty: none
  std::int64_t budgets = 0;
  std::int64_t calls = 0;
  std::int64_t overruns = 0;  // beyond what was reserved: by a provider, not by us
};
// Within one snapshot.
BudgetsSeen lookAtBudgets(database::Connection& connection);

}  // namespace aragora::verify
