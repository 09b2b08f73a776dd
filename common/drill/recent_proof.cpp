#include "common/drill/recent_proof.h"

#include "common/base/text.h"

namespace aragora::drill {

using backup::Entry;
using backup::Kind;

namespace {
// By when it began: what was written later is not in it.
bool counts(const Entry& entry, const RecoveryState& state, const std::string& instance_id, std::chrono::hours age) {
  return entry.manifest->instance_id == instance_id &&
         state.at - entry.manifest->started_at <= std::chrono::microseconds(age).count();
}

std::string madeAgo(const Entry& entry, Micros now) {
  return fmt::format("{} was begun {} ago", entry.id,
                     humanDuration(std::chrono::milliseconds((now - entry.manifest->started_at) / 1000)));
}
}  // namespace

std::optional<RecentProof> recentProof(const RecoveryState& state, const std::string& instance_id,
                                       std::chrono::hours age) {
  std::optional<RecentProof> found;
  const auto take = [&](const std::optional<Entry>& entry, std::string_view how) {
    if (!entry || !counts(*entry, state, instance_id, age)) return;
    if (!found || found->backup.manifest->started_at < entry->manifest->started_at)
      found = RecentProof{*entry, std::string(how)};
  };
  for (const auto kind : {Kind::Full, Kind::Base}) {
    const auto& known = state.kind(kind);
    take(known.proven, "verified");
    if (known.proof && known.newest && known.proof->backup == known.newest->id) take(known.newest, known.proof->how);
  }
  return found;
}

std::string whyNoRecentProof(const RecoveryState& state, const std::string& instance_id, std::chrono::hours age) {
  const auto& full = state.kind(Kind::Full);
  const auto& newest = full.newest ? full.newest : state.kind(Kind::Base).newest;
  if (!newest) return fmt::format("there is no good backup in {}", state.directory.string());
  if (newest->manifest->instance_id != instance_id)
    return fmt::format("the newest backup in {} is of another deployment", state.directory.string());
  if (!counts(*newest, state, instance_id, age)) return "the newest good backup " + madeAgo(*newest, state.at);
  return fmt::format("{} was never restored to prove it", newest->id);
}

}  // namespace aragora::drill
