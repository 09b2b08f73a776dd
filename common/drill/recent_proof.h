// A backup of the last hours that is known to be good because it was restored, by `backup verify` or by a drill.
#pragma once

#include "common/drill/recovery_state.h"

namespace aragora::drill {

struct WantedProof {
  database::Connection& live;  // the backup has to be of its past: of no clone, and of nothing that was restored away
  std::string instance_id;     // of the deployment
  std::chrono::hours age{24};  // within which it was begun
  int schema = 0;              // its migrations, at least
};

struct RecentProof {
  backup::Entry backup;
  std::string how;  // "verified" or "drilled"
};

// The newest such full or base backup.
std::optional<RecentProof> recentProof(const RecoveryState& state, const WantedProof& wanted);
// Why there is none, in words.
std::string whyNoRecentProof(const RecoveryState& state, const WantedProof& wanted);

}  // namespace aragora::drill
