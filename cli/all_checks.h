// Every check of this deployment, with the organisation's own, as whoever must make them.
#pragma once

#include "cli/context.h"
#include "common/checks/own_checks.h"

namespace aragora::cli {

struct ChecksToRun {
  checks::Selection which{};
  bool offline = false;
  std::chrono::milliseconds timeout{5000};
};

// From here on this process may be the unit's user: what that one may reach is asked as that user.
checks::Report runAllChecks(Context& context, const ChecksToRun& how);

}  // namespace aragora::cli
