#include <future>

#include "common/base/interrupt.h"
#include "common/base/redact.h"
#include "common/base/text.h"
#include "common/checks/acknowledged.h"
#include "common/checks/check.h"
#include "common/checks/facts.h"
#include "common/checks/own_checks.h"

namespace aragora::checks {

namespace {
constexpr std::string_view kFile = "config_file";  // what loader.cpp calls the file as a whole
constexpr auto kTotalSlack = std::chrono::milliseconds(500);
constexpr auto kLookForStop = std::chrono::milliseconds(50);

// Runs `work` in a thread that may be left behind: a name lookup or a driver without a deadline cannot be interrupted.
template <typename Function>
auto detachedTask(Function function) {
  using Result = std::invoke_result_t<Function>;
  auto promise = std::make_shared<std::promise<Result>>();
  auto future = promise->get_future().share();
  std::thread([promise, function = std::move(function)] {
    try {
      promise->set_value(function());
    } catch (...) {
      promise->set_exception(std::current_exception());
    }
  }).detach();
  return future;
}

bool readyBy(const std::shared_future<std::vector<Finding>>& findings, Deadline limit) {
  while (true) {
    interrupt::check();
    if (findings.wait_until(std::min(limit, deadlineIn(kLookForStop))) == std::future_status::ready) return true;
    if (remaining(limit).count() == 0) return false;
  }
}

void requireKnown(const std::vector<std::string>& ids, const OwnChecks* own) {
  std::vector<std::string> known;
  for (const auto& check : allChecks()) known.emplace_back(check.id);
  for (const auto& entry : own != nullptr ? own->entries : decltype(own->entries){}) known.push_back(entry->id);
  for (const auto& id : ids) {
    if (std::find(known.begin(), known.end(), id) != known.end()) continue;
    const auto close = nearest(id, known);
    throw Error(Code::Usage, fmt::format("there is no check '{}'", printable(id, 60)),
                close ? fmt::format("did you mean {}?", *close) : "see: aragora validate-env --list");
  }
}

// What a file says that could not be read is not missing: a line that calls for a new key would cost the old one.
Selection whatCanBeSeen(const Context& context, const Selection& selection) {
  const bool unread = std::any_of(context.problems.begin(), context.problems.end(),
                                  [](const auto& problem) { return problem.setting == kFile && !problem.warning; });
  return unread ? Selection{.only = {"configuration"}} : selection;
}

// What is shown goes to terminals, tickets and monitoring.
std::vector<Finding> withoutSecrets(std::vector<Finding> findings) {
  for (auto& finding : findings) {
    finding.message = redact(finding.message);
    finding.origin = redact(finding.origin);
  }
  return findings;
}

std::vector<Finding> lookSafely(const Check& check, const Context& context) {
  try {
    return withoutSecrets(check.look(context));
  } catch (const Error& error) {
    return {{Level::Failure, fmt::format("{}: {}", check.title, error.what()), "", error.hint(), error.code()}};
  } catch (const std::exception& error) {
    return {{Level::Failure, fmt::format("{}: could not be checked ({})", check.title, error.what()), "",
             "report this as a bug", Code::CouldNotVerify}};
  }
}
}  // namespace

std::string_view name(Level level) {
  switch (level) {
    case Level::Ok:
      return "ok";
    case Level::Warning:
      return "warning";
    case Level::Acknowledged:
      return "acknowledged";
    case Level::Failure:
      return "error";
    case Level::Skipped:
      return "skipped";
  }
  return "error";
}

Level Outcome::worst() const {
  const auto any = [&](Level level) {
    return std::any_of(findings.begin(), findings.end(), [&](const Finding& f) { return f.level == level; });
  };
  for (const auto level : {Level::Failure, Level::Warning, Level::Acknowledged, Level::Skipped}) {
    if (any(level)) return level;
  }
  return Level::Ok;
}

bool Report::has(Level level) const {
  return std::any_of(outcomes.begin(), outcomes.end(), [&](const Outcome& outcome) {
    return std::any_of(outcome.findings.begin(), outcome.findings.end(),
                       [&](const Finding& finding) { return finding.level == level; });
  });
}

int Report::exitStatus(bool strict) const {
  std::set<Code> codes;
  for (const auto& outcome : outcomes) {
    for (const auto& finding : outcome.findings) {
      // Left out because nobody answered: the check that asked says so, unless it was not to be made.
      const bool unanswered = finding.level == Level::Skipped && finding.code == Code::Unreachable;
      if (finding.level == Level::Failure || unanswered) codes.insert(finding.code);
    }
  }
  if (codes.count(Code::Config) > 0) return info(Code::Config).exit_status;
  if (codes.count(Code::Permission) > 0) return info(Code::Permission).exit_status;
  if (codes.count(Code::Unreachable) > 0 || codes.count(Code::CouldNotVerify) > 0)
    return info(Code::Unreachable).exit_status;
  if (!codes.empty() || (strict && has(Level::Warning))) return info(Code::CheckFailed).exit_status;
  return 0;
}

namespace {
struct Pending {
  const Check* check;
  std::chrono::steady_clock::time_point started;
  std::chrono::milliseconds allowed;
  std::shared_future<std::vector<Finding>> findings;
};

// What there is to be made of it, in the order of the report.
std::vector<const Check*> chosen(const Selection& selection, const OwnChecks* own) {
  const auto contains = [](const std::vector<std::string>& ids, std::string_view id) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  std::vector<const Check*> checks;
  const auto add = [&](const std::vector<Check>& all) {
    for (const auto& check : all) {
      if (!selection.only.empty() && !contains(selection.only, check.id)) continue;
      if (contains(selection.skip, check.id) || (selection.startup_only && !check.at_startup)) continue;
      checks.push_back(&check);
    }
  };
  if (selection.built_in) add(allChecks());
  if (selection.own && own != nullptr) add(own->checks);
  return checks;
}

// Own ones have deadlines of their own, and end what they started by themselves: that is waited for.
std::chrono::milliseconds allowedFor(const Check& check, const Context& context) {
  if (context.own == nullptr) return context.timeout;
  for (const auto& entry : context.own->entries) {
    if (entry->id == check.id) return entry->timeout + kTotalSlack;
  }
  return context.timeout;
}

std::shared_ptr<Context> contextFor(const Context& given, const Selection& selection) {
  // Shared with threads that may outlive this call.
  auto context = std::make_shared<Context>(given);
  context->facts = std::make_shared<Facts>();
  if (!context->offline && selection.built_in)
    context->facts->database = detachedTask([context] { return askDatabase(context->config); });
  // By the first check that needs it.
  context->facts->recovery = std::async(std::launch::deferred, [&config = context->config, ask = !context->offline] {
                               return lookAtBackups(config, ask);
                             }).share();
  return context;
}
}  // namespace

Report runChecks(const Context& given, const Selection& wanted) {
  requireKnown(wanted.only, given.own.get());
  requireKnown(wanted.skip, given.own.get());
  const auto selection = whatCanBeSeen(given, wanted);
  const auto context = contextFor(given, selection);
  const auto checks = chosen(selection, given.own.get());
  Report report;
  report.own = given.own;
  std::vector<Pending> pending;
  for (const auto* check : checks) {
    const auto started = std::chrono::steady_clock::now();
    if (!check->needs_network) {
      // Looks at this machine only: microseconds, not worth a thread.
      report.outcomes.push_back({check, lookSafely(*check, *context), secondsSince(started)});
    } else if (context->offline) {
      report.outcomes.push_back(
          {check,
           {{Level::Skipped, fmt::format("{}: not checked (--offline)", check->title), "", "", Code::CouldNotVerify}},
           0});
    } else {
      pending.push_back({check, started, allowedFor(*check, *context),
                         detachedTask([context, check] { return lookSafely(*check, *context); })});
    }
  }
  for (const auto& task : pending) {
    if (readyBy(task.findings, task.started + task.allowed)) {
      report.outcomes.push_back({task.check, task.findings.get(), secondsSince(task.started)});
    } else {
      report.abandoned = true;
      report.outcomes.push_back(
          {task.check,
           {{Level::Failure, fmt::format("{}: no answer within {}", task.check->title, humanDuration(task.allowed)), "",
             "check the address, the name service and the firewall", Code::Unreachable}},
           secondsSince(task.started)});
    }
  }
  std::sort(report.outcomes.begin(), report.outcomes.end(), [&](const Outcome& a, const Outcome& b) {
    return std::find(checks.begin(), checks.end(), a.check) < std::find(checks.begin(), checks.end(), b.check);
  });
  applyAcknowledgements(context->config, report);
  return report;
}

}  // namespace aragora::checks
