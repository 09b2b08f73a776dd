#include "common/drill/objectives.h"

#include "common/base/error.h"
#include "common/storage/location.h"

namespace aragora::drill {

namespace key = config::key;

Objectives objectivesOf(const config::Config& config) {
  Objectives objectives{.policy = backup::policyOf(config),
                        .every = std::chrono::hours(config.integer(key::kBackupEveryHours)),
                        .save_interval = std::chrono::seconds(config.integer(key::kBackupInterval)),
                        .rto = std::chrono::minutes(config.integer(key::kRtoMinutes)),
                        .rpo = std::chrono::minutes(config.integer(key::kRpoMinutes))};
  if (!config.isSet(key::kOffsite)) return objectives;
  objectives.offsite = config.text(key::kOffsite);
  try {
    objectives.place = storage::offsite(config);
  } catch (const Error& error) {
    objectives.place_problem = error.what();
  }
  return objectives;
}

}  // namespace aragora::drill
