#include "common/checks/acknowledged.h"

#include "common/base/text.h"
#include "common/checks/own_checks.h"
#include "common/checks/settings_checks.h"

namespace aragora::checks {

namespace {
struct Entry {
  std::string check;
  std::string date;
  std::string reason;
};

Entry parse(const std::string& text) {
  auto rest = std::string(trim(text));
  const auto word = [&] {
    const auto end = rest.find(' ');
    const auto first = rest.substr(0, end);
    rest = end == std::string::npos ? "" : std::string(trim(rest.substr(end)));
    return first;
  };
  Entry entry;
  entry.check = word();
  entry.date = word();
  entry.reason = rest;
  return entry;
}

// What is missing in it, or nothing.
std::string wrongWith(const Entry& entry, const OwnChecks* own) {
  const auto among = [&](const std::vector<Check>& checks) {
    return std::any_of(checks.begin(), checks.end(), [&](const Check& check) { return check.id == entry.check; });
  };
  if (!among(allChecks()) && !(own != nullptr && among(own->checks)))
    return fmt::format("there is no check '{}'", printable(entry.check, 60));
  const auto date = fromIso(entry.date + "T00:00:00Z");
  if (entry.date.size() != 10 || !date) return fmt::format("{}: the date is missing", entry.check);
  if (*date > nowMicros()) return fmt::format("{}: {} lies ahead", entry.check, entry.date);
  if (entry.reason.empty()) return fmt::format("{}: the reason is missing", entry.check);
  return "";
}
}  // namespace

void applyAcknowledgements(const config::Config& config, Report& report) {
  for (const auto& text : config.list(config::key::kAcknowledged)) {
    const auto entry = parse(text);
    const auto wrong = wrongWith(entry, report.own.get());
    for (auto& outcome : report.outcomes) {
      if (!wrong.empty() && outcome.check->id == "configuration")
        outcome.findings.push_back(misconfigured(
            fmt::format("{}: {}", config.variable(config::key::kAcknowledged), wrong),
            config.origin(config::key::kAcknowledged).text, "write: CHECK YYYY-MM-DD why it may stay as it is"));
      if (!wrong.empty() || outcome.check->id != entry.check) continue;
      for (auto& finding : outcome.findings) {
        if (finding.level != Level::Warning) continue;
        finding.level = Level::Acknowledged;
        finding.message += fmt::format(" (acknowledged {}: {})", entry.date, printable(entry.reason, 200));
        finding.hint.clear();
      }
    }
  }
}

}  // namespace aragora::checks
