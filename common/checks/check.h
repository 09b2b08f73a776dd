// The validation core. A check is an id, a title and a function that looks and answers findings; validate-env runs all
// of them, serve those tagged start-up, readiness and `verify --url` the connectivity ones. There is no second
// validator. Checks run in parallel, each with its own deadline; one that does not come back in time is abandoned and
// reported as a failure of what it looked at, never as passed. They have no side effects.
#pragma once

#include <functional>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/config/loader.h"

namespace aragora::checks {

enum class Level { Ok, Warning, Acknowledged, Failure, Skipped };  // Acknowledged: a warning somebody answers for
std::string_view name(Level level);                                // ok, warning, acknowledged, error, skipped

struct Finding {
  Level level = Level::Ok;
  std::string message;  // without secrets
  std::string origin;   // where the value came from, empty when it has none
  std::string hint;     // what to do
  Code code =
      Code::CheckFailed;  // of a failure: Config, Permission, Unreachable or CheckFailed; decides the exit status
};

struct Facts;      // what was asked of the backends, once for all checks
struct OwnChecks;  // own_checks.h

struct Context {
  config::Config config;
  std::vector<config::Problem> problems;
  std::map<std::string, std::string> environment_origins;  // every variable of the environment, for the unknown ones
  std::string config_file;                                 // that was read, empty when none
  std::string unit_user;                                   // whom the unit asked about runs as, empty when none
  bool offline = false;
  std::chrono::milliseconds timeout{5000};  // of each check
  std::shared_ptr<Facts> facts;             // shared by the checks that look at one backend; set by runChecks
  std::shared_ptr<const OwnChecks> own{};   // what an organisation adds; null: nothing
  std::string unit{};                       // that runs the daemon with these settings, as far as is known
  config::UnitPlaces unit_places{};         // of that unit
};

struct Check {
  std::string_view id;     // stable; key in JSON
  std::string_view title;  // what an operator reads
  bool needs_network = false;
  bool at_startup = false;
  bool in_summary = false;  // stands in the default view when it passed
  std::function<std::vector<Finding>(const Context&)> look;
};

const std::vector<Check>& allChecks();

struct Outcome {
  const Check* check = nullptr;
  std::vector<Finding> findings;
  double seconds = 0;
  Level worst() const;
};

struct Report {
  std::vector<Outcome> outcomes;  // in the order of allChecks(), then the own ones
  std::shared_ptr<const OwnChecks> own{};
  bool abandoned = false;  // a check still runs in a thread of its own; leave the process without waiting
  bool has(Level level) const;
  // 0; 78 a configuration failure; 77 a right that is missing; 69 an unreachable dependency; 1 anything else, or a
  // warning when `strict`.
  int exitStatus(bool strict) const;
};

struct Selection {
  std::vector<std::string> only;
  std::vector<std::string> skip;
  bool startup_only = false;
  bool built_in = true;
  bool own = true;
};

// Throws Error(Usage) for an id that does not exist, with the nearest one.
Report runChecks(const Context& context, const Selection& selection = {});

}  // namespace aragora::checks
