#include "common/backup/policy.h"

#include "common/base/error.h"

namespace aragora::backup {

namespace key = config::key;

namespace {
constexpr Micros kClockSlack = 60'000'000;
}  // namespace

bool isOfTheFuture(const Entry& entry, Micros now) {
  return entry.manifest && entry.manifest->finished_at > now + kClockSlack;
}

Policy policyOf(const config::Config& config) {
  const std::chrono::hours daily(config.integer(key::kBackupEveryHours));
  return {{Kind::Full, daily, config.integer(key::kBackupRetentionDays), false},
          {Kind::Base, daily, config.integer(key::kBackupLogDays), true},
          {Kind::Configuration, std::chrono::hours(0), config.integer(key::kConfigurationDays), false},
          {Kind::Artifacts, std::chrono::hours(config.integer(key::kArtifactsEveryHours)),
           config.integer(key::kArtifactsDays), false}};
}

const Rule& ruleOf(const Policy& policy, Kind kind) {
  const auto found = std::find_if(policy.begin(), policy.end(), [&](const Rule& rule) { return rule.kind == kind; });
  ARAGORA_CHECK(found != policy.end());
  return *found;
}

Micros nextDue(const Rule& rule, const std::vector<Entry>& entries, Micros now) {
  const auto newest = std::find_if(entries.rbegin(), entries.rend(), [](const Entry& entry) { return entry.good(); });
  if (newest == entries.rend() || isOfTheFuture(*newest, now)) return 0;
  return newest->manifest->finished_at + std::chrono::microseconds(rule.every).count() / 10 * 9;
}

}  // namespace aragora::backup
