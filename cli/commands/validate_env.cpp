#include "cli/all_checks.h"
#include "cli/commands/commands.h"
#include "common/base/redact.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
using checks::Level;

struct Options {
  bool strict = false;
  bool offline = false;
  bool startup = false;
  bool list = false;
  std::vector<std::string> only;
  std::vector<std::string> skip;
  std::optional<std::int64_t> timeout;
};

Mark markOf(Level level) {
  switch (level) {
    case Level::Ok:
      return Mark::Ok;
    case Level::Warning:
      return Mark::Warning;
    case Level::Failure:
      return Mark::Failure;
    case Level::Acknowledged:
    case Level::Skipped:
      return Mark::Info;
  }
  return Mark::Failure;
}

int listChecks(const Output& out, const checks::OwnChecks& own) {
  json::array array;
  auto all = checks::allChecks();
  all.insert(all.end(), own.checks.begin(), own.checks.end());
  for (const auto& check : all) {
    array.push_back(json::object{{"id", check.id},
                                 {"title", check.title},
                                 {"needs_network", check.needs_network},
                                 {"at_startup", check.at_startup}});
    out.line(fmt::format("{:<20} {}{}", check.id, check.title, check.needs_network ? " (asks a backend)" : ""));
  }
  out.document({{"checks", array}});
  return 0;
}

struct Tally {
  json::object by_id;
  json::array errors;
  json::array warnings;
  std::size_t acknowledged = 0;
  std::size_t unanswered = 0;  // checks that the database was to answer
  std::size_t made = 0;        // checks, of all that there are
  std::size_t total = 0;
  bool all() const { return made == total; }
};

Tally tally(const checks::Report& report, bool offline) {
  Tally result;
  result.total = checks::allChecks().size() + (report.own ? report.own->checks.size() : 0);
  for (const auto& outcome : report.outcomes) {
    const bool unanswered =
        outcome.findings.front().level == Level::Skipped && outcome.findings.front().code == Code::Unreachable;
    const bool not_asked = unanswered || (offline && outcome.check->needs_network && outcome.worst() == Level::Skipped);
    if (!not_asked) ++result.made;
    if (unanswered) ++result.unanswered;
    json::array findings;
    for (const auto& finding : outcome.findings) {
      findings.push_back(json::object{{"status", checks::name(finding.level)},
                                      {"message", redact(finding.message)},
                                      {"origin", finding.origin},
                                      {"hint", redact(finding.hint)}});
      if (finding.level == Level::Failure) result.errors.push_back(json::string(redact(finding.message)));
      if (finding.level == Level::Warning) result.warnings.push_back(json::string(redact(finding.message)));
      if (finding.level == Level::Acknowledged) ++result.acknowledged;
    }
    result.by_id[outcome.check->id] = json::object{{"status", checks::name(outcome.worst())},
                                                   {"title", outcome.check->title},
                                                   {"message", redact(outcome.findings.front().message)},
                                                   {"findings", findings},
                                                   {"seconds", outcome.seconds}};
  }
  return result;
}

// The checklist's own lines, then whatever is not right, then the verdict.
void printFindings(const Output& out, const checks::Report& report) {
  for (const auto& outcome : report.outcomes) {
    for (const auto& finding : outcome.findings) {
      const bool calm = finding.level == Level::Ok || finding.level == Level::Skipped;
      if (calm && !outcome.check->in_summary && !out.verbose()) continue;
      auto text = finding.message;
      if (!calm && !finding.origin.empty()) text += out.dim(fmt::format("  [{}]", finding.origin));
      if (!calm && !finding.hint.empty()) text += fmt::format("\n    → {}", finding.hint);
      out.marked(markOf(finding.level), text);
    }
  }
}

// What is written there and is none of them is not repeated.
std::string environmentOf(const config::Config& config) {
  const auto& known = config::findSetting(config::key::kEnvironment)->choices;
  auto named = config.text(config::key::kEnvironment);
  return std::find(known.begin(), known.end(), named) != known.end() ? named : std::string("unknown");
}

void printVerdict(const Output& out, const Tally& found, const std::string& environment, int status) {
  const auto warnings = found.warnings.empty() ? std::string() : ", " + counted(found.warnings.size(), "warning");
  const auto answered = found.acknowledged == 0 ? std::string() : fmt::format(", {} acknowledged", found.acknowledged);
  if (status != 0 && found.errors.empty() && found.unanswered > 0) {
    out.marked(Mark::Failure, fmt::format("{} of {} checks made: the database could not be asked{}{}", found.made,
                                          found.total, warnings, answered));
  } else if (status != 0) {
    out.marked(Mark::Failure, fmt::format("{}{}{}: the {} requirements are not met",
                                          counted(found.errors.size(), "error"), warnings, answered, environment));
  } else if (!found.all()) {
    out.marked(Mark::Info, fmt::format("{} of {} checks made: nothing wrong was found by them{}{}", found.made,
                                       found.total, warnings, answered));
  } else {
    out.marked(Mark::Ok, fmt::format("All {} requirements met{}{}", environment, warnings, answered));
  }
}

int validate(Context& context, const Options& options) {
  const auto& out = context.out();
  if (options.list) return listChecks(out, *checks::loadOwnChecks(context.loaded(false).config_file));
  const auto seconds = options.timeout.value_or(5);
  if (seconds < 1 || seconds > 300) throw Error(Code::Usage, "--timeout takes 1 to 300 seconds");
  const auto report = runAllChecks(
      context, {{options.only, options.skip, options.startup}, options.offline, std::chrono::seconds(seconds)});
  const int status = report.exitStatus(options.strict);
  const auto found = tally(report, options.offline);
  const auto environment = environmentOf(context.loaded().config);
  // What was not looked at is neither valid nor invalid.
  const auto valid = found.errors.empty() && !found.all() ? json::value(nullptr) : json::value(found.errors.empty());
  out.document({{"valid", valid},
                {"checks_made", found.made},
                {"checks_total", found.total},
                {"acknowledged", found.acknowledged},
                {"checks", found.by_id},
                {"errors", found.errors},
                {"warnings", found.warnings},
                {"strict_mode", options.strict},
                {"final_valid", status == 0},
                {"environment", environment},
                {"offline", options.offline},
                {"exit_status", status}});
  printFindings(out, report);
  printVerdict(out, found, environment, status);
  return status;
}
}  // namespace

void declareValidateEnv(CommandLine line) {
  auto options = std::make_shared<Options>();
  line.flag("--strict", options->strict, "Warnings fail too")
      .flag("--offline", options->offline, "Ask no backend and run no *_COMMAND program")
      .flag("--start-up", options->startup, "Only what the daemon would refuse to start for")
      .flag("--list", options->list, "List the checks and their ids")
      .list("--only", options->only, "Run only these checks (ids, comma separated)")
      .list("--skip", options->skip, "Leave these checks out")
      .option("--timeout", options->timeout, "Seconds each check may take (default 5)");
  line.run([options](Context& context) { return validate(context, *options); });
}

}  // namespace aragora::cli
