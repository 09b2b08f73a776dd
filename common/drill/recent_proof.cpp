#include "common/drill/recent_proof.h"

#include "common/audit/audit.h"
#include "common/base/text.h"

namespace aragora::drill {

using backup::Entry;
using backup::Kind;

namespace {
// How far the clocks of several machines and a transaction under way may be apart.
constexpr Micros kClocks = Micros{5} * 60 * 1000 * 1000;

std::string madeAgo(const Entry& entry, Micros now) {
  return fmt::format("{} was begun {} ago", entry.id,
                     humanDuration(std::chrono::milliseconds((now - entry.manifest->started_at) / 1000)));
}
// How the audit log contradicts that this database was saved: it has another past than the backup saw, or was written
// to before the backup began, and the backup saw nothing of that. A clone has the identity of what it was copied from.
std::optional<std::string> notOfThisPast(const backup::Manifest& manifest, database::Connection& live) {
  const auto& head = manifest.audit_head;
  if (audit::contradiction(live, {{manifest.id, manifest.started_at, head}}, 0))
    return fmt::format("{} is not of this database: its audit log has another entry {} or none", manifest.id,
                       head.entries);
  const auto next = live.query("SELECT at FROM audit_log WHERE seq = $1", {head.entries + 1});
  if (next.empty() || next[0].integer(0) >= manifest.started_at - kClocks) return std::nullopt;
  return fmt::format("{} is not of this database, or lacks what was written before it: it saw the audit log end at {}",
                     manifest.id, counted(head.entries, "entry"));
}

// nullopt: it counts. Its age goes by when it began: what was written later is not in it.
std::optional<std::string> whyNot(const Entry& entry, const RecoveryState& state, const WantedProof& wanted) {
  const auto& manifest = *entry.manifest;
  if (manifest.instance_id != wanted.instance_id)
    return fmt::format("the newest backup in {} is of another deployment", state.directory.string());
  if (state.at - manifest.started_at > std::chrono::microseconds(wanted.age).count())
    return "the newest good backup " + madeAgo(entry, state.at);
  if (manifest.migration_version < wanted.schema)
    return fmt::format("{} was made at version {} of the schema: nothing that only version {} can hold is in it",
                       entry.id, manifest.migration_version, wanted.schema);
  return notOfThisPast(manifest, wanted.live);
}
}  // namespace

std::optional<RecentProof> recentProof(const RecoveryState& state, const WantedProof& wanted) {
  std::optional<RecentProof> found;
  const auto take = [&](const std::optional<Entry>& entry, std::string_view how) {
    if (!entry || whyNot(*entry, state, wanted)) return;
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

std::string whyNoRecentProof(const RecoveryState& state, const WantedProof& wanted) {
  const auto& full = state.kind(Kind::Full);
  const auto& newest = full.newest ? full.newest : state.kind(Kind::Base).newest;
  if (!newest) return fmt::format("there is no good backup in {}", state.directory.string());
  return whyNot(*newest, state, wanted).value_or(fmt::format("{} was never restored to prove it", newest->id));
}

}  // namespace aragora::drill
