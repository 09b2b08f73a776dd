// A backup of the last hours that is known to be good because it was restored, by `backup verify` or by a drill.
#pragma once

#include "common/drill/recovery_state.h"

namespace aragora::drill {

struct RecentProof {
  backup::Entry backup;
  std::string how;  // "verified" or "drilled"
};

// The newest such full or base backup of the deployment `instance_id`, begun within `age`.
std::optional<RecentProof> recentProof(const RecoveryState& state, const std::string& instance_id,
                                       std::chrono::hours age);
// Why there is none, in words.
std::string whyNoRecentProof(const RecoveryState& state, const std::string& instance_id, std::chrono::hours age);

}  // namespace aragora::drill
