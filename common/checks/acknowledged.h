// checks.acknowledged: warnings that somebody answers for, each `CHECK YYYY-MM-DD reason`. They are shown as such and
// do not fail --strict. An error cannot be acknowledged, and an entry that says too little is an error itself.
#pragma once

#include "common/checks/check.h"

namespace aragora::checks {

void applyAcknowledgements(const config::Config& config, Report& report);

}  // namespace aragora::checks
