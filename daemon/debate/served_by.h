// Who really answered in a debate, for its report: a fallback or an alias is another model than the seat was given.
#pragma once

#include "daemon/debate/runner.h"

namespace aragora::debate {

// Adds `served_by` (a call each) and `diversity` to the report: how many families of models proposed is what it says
// about how independently they err.
void addServedBy(json::object& report, const store::Debate& debate, const RunServices& services);
// As the rules alone make it.
void withoutServedBy(json::object& report);

}  // namespace aragora::debate
