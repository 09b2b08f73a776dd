// What a unit that failed left behind: its result, as systemd handed it over ($MONITOR_*) or answers it, and its last
// lines in the journal. What could not be learnt is said in the place of it.
#pragma once

#include "common/notify/event.h"

namespace aragora::cli {

struct UnitReport {
  std::string unit;
  std::string invocation;  // empty when nobody knows it
  notify::Problem problem;
};

// Throws Error(Usage) for what is no name of a unit.
UnitReport reportOn(const std::string& unit);

// The last lines of a unit in the journal, or of one run of it, redacted; one that says why there are none.
std::vector<std::string> lastLines(const std::string& unit, const std::string& invocation, int lines);

}  // namespace aragora::cli
