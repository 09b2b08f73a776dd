#include "common/drill/evidence.h"

#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::drill {

namespace {
constexpr std::size_t kLimit = 1U << 20;
constexpr std::size_t kTrend = 5;

std::string_view outcomeName(Step::Outcome outcome) {
  switch (outcome) {
    case Step::Outcome::Done:
      return "done";
    case Step::Outcome::Failed:
      return "failed";
    case Step::Outcome::NotRun:
      return "not_run";
  }
  return {};
}

std::string seconds(double value) { return humanDuration(value); }

// One cell of a table.
std::string cell(std::string_view text) { return replaceAll(printable(text, 300), "|", "\\|"); }
}  // namespace

json::object toDocument(const Evidence& evidence) {
  json::array steps;
  for (const auto& step : evidence.steps) {
    steps.push_back(json::object{{"name", step.name},
                                 {"outcome", outcomeName(step.outcome)},
                                 {"seconds", step.seconds},
                                 {"detail", step.detail}});
  }
  json::array boxes;
  for (const auto& box : evidence.boxes) boxes.push_back(json::object{{"text", box.text}, {"ticked", box.ticked}});
  return {{"format", 1},
          {"id", evidence.id},
          {"started_at", toIso(evidence.started_at)},
          {"host", evidence.host},
          {"tool_version", evidence.tool_version},
          {"engine", database::storedName(evidence.engine)},
          {"kind", name(evidence.way)},
          {"backup", evidence.backup},
          {"place", evidence.place},
          {"backup_bytes", evidence.backup_bytes},
          {"unpack_seconds", evidence.unpack_seconds},
          {"replay_seconds", evidence.replay_seconds},
          {"log_bytes", evidence.log_bytes},
          {"timeline", evidence.timeline > 0 ? json::value(evidence.timeline) : json::value(nullptr)},
          {"reached", evidence.timeline > 0 ? json::value(backup::formatLsn(evidence.reached)) : json::value(nullptr)},
          {"steps", steps},
          {"checklist", boxes},
          {"warnings", json::array(evidence.warnings.begin(), evidence.warnings.end())},
          {"recovered", evidence.recovered},
          {"rto_seconds", evidence.recovered ? json::value(evidence.rto_seconds) : json::value(nullptr)},
          {"rto_objective_seconds", evidence.rto_objective.count()},
          {"rto_met", evidence.rtoMet()},
          {"rpo_seconds", evidence.recovered ? json::value(evidence.rpo_seconds) : json::value(nullptr)},
          {"rpo_objective_seconds", evidence.rpo_objective.count()},
          {"rpo_met", evidence.rpoMet()},
          {"passed", evidence.passed()}};
}

std::string toMarkdown(const Evidence& evidence, const std::vector<json::object>& history) {
  std::string text =
      fmt::format("# Recovery drill {}\n\n**{}** on {} with aragora {}: {} backup `{}` of {} in {}\n\n", evidence.id,
                  evidence.passed() ? "Passed" : "NOT PASSED", evidence.host, evidence.tool_version, name(evidence.way),
                  evidence.backup, database::storedName(evidence.engine), evidence.place);
  const auto objective = [&](const char* name, double measured, std::chrono::seconds allowed, bool met) {
    text += fmt::format("| {} | {} | {} | {} |\n", name, evidence.recovered ? seconds(measured) : "not measured",
                        humanSeconds(allowed.count()), met ? "met" : "MISSED");
  };
  text += "| objective | measured | allowed | |\n|---|---|---|---|\n";
  objective("time to recover (RTO)", evidence.rto_seconds, evidence.rto_objective, evidence.rtoMet());
  objective("data that would be lost (RPO)", evidence.rpo_seconds, evidence.rpo_objective, evidence.rpoMet());
  text += "\n## Checklist\n";
  for (const auto& box : evidence.boxes) text += fmt::format("- [{}] {}\n", box.ticked ? "x" : " ", box.text);
  text += "\n## Steps\n| step | | time | |\n|---|---|---|---|\n";
  for (const auto& step : evidence.steps)
    text += fmt::format("| {} | {} | {} | {} |\n", step.name, outcomeName(step.outcome), seconds(step.seconds),
                        cell(step.detail));
  if (!history.empty()) {
    text += "\n## Before\n| drill | kind | RTO | RPO | |\n|---|---|---|---|---|\n";
    for (std::size_t i = history.size() > kTrend ? history.size() - kTrend : 0; i < history.size(); ++i) {
      const auto& past = history[i];
      const auto number = [&](const char* key) {
        const auto* value = past.if_contains(key);
        return value != nullptr && !value->is_null() ? seconds(jsonNumberOr(past, key, 0)) : std::string("-");
      };
      text += fmt::format("| {} | {} | {} | {} | {} |\n", jsonTextOr(past, "id", ""), jsonTextOr(past, "kind", ""),
                          number("rto_seconds"), number("rpo_seconds"),
                          jsonFlagOr(past, "passed", false) ? "passed" : "not passed");
    }
  }
  return text;
}

fs::path save(const Evidence& evidence, const fs::path& backups, const crypto::Keyring& keyring) {
  std::vector<json::object> before;
  for (auto& kept : history(backups, keyring)) {
    if (kept.authentic) before.push_back(std::move(kept.document));
  }
  const auto directory = backups / "drills";
  makeDirectories(directory, 0750);
  const auto text = toPrettyJson(toDocument(evidence)) + "\n";
  createFileExclusively(directory / (evidence.id + ".json.sig"), toHex(keyring.signManifest(text)) + "\n", 0640);
  createFileExclusively(directory / (evidence.id + ".json"), text, 0640);
  createFileExclusively(directory / (evidence.id + ".md"), toMarkdown(evidence, before), 0640);
  return directory / (evidence.id + ".md");
}

std::vector<Kept> history(const fs::path& backups, const crypto::Keyring& keyring) {
  std::vector<Kept> result;
  if (!fileExists(backups / "drills")) return result;
  std::error_code failed;
  const fs::directory_iterator drills(backups / "drills", failed);
  if (failed) throwSystemError(Code::Io, "list", (backups / "drills").string(), failed.value());
  for (const auto& item : drills) {
    if (item.path().extension() != ".json") continue;
    Kept kept;
    kept.id = item.path().stem().string();
    const auto text = readFileIfExists(item.path(), kLimit).value_or("");
    const auto signature = fromHex(trim(readFileIfExists(item.path().string() + ".sig", kLimit).value_or("")));
    kept.authentic = signature && keyring.verifyManifest(text, *signature);
    if (const auto value = tryParseJson(text); value && value->is_object()) kept.document = value->get_object();
    result.push_back(std::move(kept));
  }
  // Names begin with the time.
  std::sort(result.begin(), result.end(), [](const Kept& a, const Kept& b) { return a.id < b.id; });
  return result;
}

}  // namespace aragora::drill
