#include "common/backup/policy.h"

#include "common/base/error.h"

namespace aragora::backup {

namespace key = config::key;

Policy policyOf(const config::Config& config) {
  const std::chrono::hours daily(config.integer(key::kBackupEveryHours));
  return {{"full", daily, config.integer(key::kBackupRetentionDays), false},
          {"base", daily, config.integer(key::kBackupLogDays), true},
          {"configuration", std::chrono::hours(0), config.integer(key::kConfigurationDays), false},
          {"artifacts", std::chrono::hours(config.integer(key::kArtifactsEveryHours)),
           config.integer(key::kArtifactsDays), false}};
}

const Rule& ruleOf(const Policy& policy, const std::string& kind) {
  const auto found = std::find_if(policy.begin(), policy.end(), [&](const Rule& rule) { return rule.kind == kind; });
  ARAGORA_CHECK(found != policy.end());
  return *found;
}

Micros nextDue(const Rule& rule, const std::vector<Entry>& entries) {
  Micros newest = 0;
  for (const auto& entry : entries) {
    if (entry.good()) newest = std::max(newest, entry.manifest->finished_at);
  }
  if (newest == 0) return 0;
  return newest + std::chrono::microseconds(rule.every).count() / 10 * 9;
}

}  // namespace aragora::backup
