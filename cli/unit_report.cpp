#include "cli/unit_report.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "common/base/error.h"
#include "common/base/redact.h"
#include "common/base/subprocess.h"
#include "common/base/text.h"

namespace aragora::cli {

namespace {
constexpr std::chrono::seconds kPatience{5};
constexpr std::size_t kOutputLimit = 4U << 20;
constexpr int kLines = 15;

void requireUnitName(const std::string& unit) {
  constexpr std::string_view kMarks = ":-_.\\@";
  const bool good = !unit.empty() && unit.size() <= 255 && unit.front() != '-' && unit.front() != '.' &&
                    std::all_of(unit.begin(), unit.end(), [&](char c) {
                      return std::isalnum(static_cast<unsigned char>(c)) != 0 || kMarks.find(c) != std::string::npos;
                    });
  if (!good)
    throw Error(Code::Usage, fmt::format("'{}' is no name of a unit", printable(unit, 80)),
                "write it as systemctl shows it, such as aragora-backup.service");
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

using Properties = std::map<std::string, std::string>;

// What systemd hands to the unit that OnFailure= starts (systemd.exec(5)).
Properties handedOver(const std::string& unit) {
  if (variable("MONITOR_UNIT") != unit) return {};
  return {{"Result", variable("MONITOR_SERVICE_RESULT")},
          {"ExecMainCode", variable("MONITOR_EXIT_CODE")},
          {"ExecMainStatus", variable("MONITOR_EXIT_STATUS")},
          {"InvocationID", variable("MONITOR_INVOCATION_ID")}};
}

// `failure` says why there is nothing.
Properties asked(const std::string& unit, std::string& failure) {
  Properties properties;
  try {
    const auto result =
        runCommand({{"systemctl", "show", unit, "--no-pager",
                     "-pResult,ExecMainCode,ExecMainStatus,InvocationID,ActiveState,LoadState,NRestarts"}},
                   kPatience, kOutputLimit);
    if (result.status != 0) failure = fmt::format("systemctl: {}", std::string(trim(result.error_output)));
    for (const auto& line : split(result.output, '\n')) {
      const auto equals = line.find('=');
      if (equals != std::string::npos) properties[line.substr(0, equals)] = line.substr(equals + 1);
    }
    if (properties["LoadState"] == "not-found") failure = "systemctl knows no such unit";
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    failure = error.what();
  }
  return properties;
}

// Our own statuses mean something.
std::string meaningOf(const std::string& status) {
  const auto number = parseInteger(status);
  for (const auto& entry : codeTable()) {
    if (number == entry.exit_status) return fmt::format("exit status {}: {}", status, entry.meaning);
  }
  return "exit status " + status;
}

std::string summaryOf(const std::string& unit, const Properties& given) {
  const auto get = [&](const char* name) {
    const auto found = given.find(name);
    return found == given.end() ? std::string() : found->second;
  };
  const auto result = get("Result");
  const auto status = get("ExecMainStatus");
  if (result.empty()) return fmt::format("{} failed", unit);
  if (result == "exit-code") return fmt::format("{} failed ({})", unit, meaningOf(status));
  if (result == "oom-kill") return fmt::format("{} was killed: out of memory", unit);
  if (result == "watchdog") return fmt::format("{} was killed by the watchdog: it made no progress", unit);
  if (result == "timeout") return fmt::format("{} took too long and was killed", unit);
  if (result == "signal" || result == "core-dump") return fmt::format("{} was killed by signal {}", unit, status);
  if (result == "start-limit-hit") return fmt::format("{} failed too often and is not started any more", unit);
  return fmt::format("{} failed ({})", unit, result);
}
}  // namespace

std::vector<std::string> lastLines(const std::string& unit, const std::string& invocation, int lines) {
  Command command{{"journalctl", "--no-pager", "--quiet", "-o", "short-iso", "-n", std::to_string(lines)}};
  if (invocation.empty())
    command.argv.insert(command.argv.end(), {"-u", unit});
  else
    command.argv.push_back("_SYSTEMD_INVOCATION_ID=" + invocation);
  try {
    const auto result = runCommand(command, kPatience, kOutputLimit);
    auto found = split(redact(result.output), '\n');
    if (!found.empty()) return found;
    const auto why = std::string(trim(redact(result.error_output)));
    return {why.empty() ? "the journal has no line of it, or this user may not read it" : "journalctl: " + why};
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    return {fmt::format("the journal could not be read: {}", error.what())};
  }
}

UnitReport reportOn(const std::string& unit) {
  requireUnitName(unit);
  std::string failure;
  auto properties = handedOver(unit);
  if (properties["Result"].empty()) properties = asked(unit, failure);
  UnitReport report{
      unit, properties["InvocationID"], {"unit:" + unit, notify::Kind::Unit, summaryOf(unit, properties)}};
  if (!failure.empty()) report.problem.details.push_back("what became of it is not known: " + failure);
  const bool hexadecimal = fromHex(report.invocation).has_value();
  for (auto& line : lastLines(unit, hexadecimal ? report.invocation : std::string(), kLines))
    report.problem.details.push_back(std::move(line));
  report.problem.details.push_back(fmt::format("see: journalctl -u {}", unit));
  return report;
}

}  // namespace aragora::cli
