#include "cli/all_checks.h"

#include <unistd.h>

#include "common/base/account.h"

namespace aragora::cli {

namespace {
// What the unit's user may reach is asked as that user: files and directories, and PostgreSQL, which may know who asks
// by the user alone. What systemd hands over was read before, as systemd reads it.
void lookAs(const std::string& user) {
  const auto account = ::geteuid() == 0 ? findAccount(user) : std::nullopt;
  if (account && account->user != 0) becomeForGood(*account);
}
}  // namespace

checks::Report runAllChecks(Context& context, const ChecksToRun& how) {
  const auto& loaded = context.loaded(!how.offline);
  const checks::Context world{loaded.config,      loaded.problems,   loaded.environment_origins,
                              loaded.config_file, loaded.unit_user,  how.offline,
                              how.timeout,        nullptr,           checks::loadOwnChecks(loaded.config_file),
                              loaded.unit,        loaded.unit_places};
  // The organisation's own first: as root each has its user.
  auto selection = how.which;
  selection.built_in = false;
  auto own = checks::runChecks(world, selection);
  lookAs(loaded.unit_user);
  selection.built_in = true;
  selection.own = false;
  auto report = checks::runChecks(world, selection);
  std::move(own.outcomes.begin(), own.outcomes.end(), std::back_inserter(report.outcomes));
  report.abandoned |= own.abandoned;
  return report;
}

}  // namespace aragora::cli
