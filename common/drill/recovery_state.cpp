#include "common/drill/recovery_state.h"

#include <sys/statvfs.h>

#include "common/backup/increments.h"
#include "common/base/error.h"
#include "common/base/text.h"

namespace aragora::drill {

namespace {
using backup::Entry;

KindState look(const fs::path& directory, const backup::Rule& rule, Micros now) {
  KindState state;
  state.rule = rule;
  const auto entries = backup::Repository(directory, rule.kind).list();
  state.count = entries.size();
  for (const auto& entry : entries) {
    if (entry.good())
      state.newest = entry;
    else
      ++state.bad;
    if (entry.proven()) state.proven = entry;
  }
  state.next_due = backup::nextDue(rule, entries);
  const auto period = std::chrono::microseconds(rule.every).count();
  state.late = period > 0 && (!state.newest || now - state.newest->manifest->finished_at > period * 3 / 2);
  return state;
}

std::optional<LastDrill> lastDrill(const fs::path& directory, const crypto::Keyring& keyring) {
  const auto all = history(directory, keyring);
  if (all.empty()) return std::nullopt;
  const auto& kept = all.back();
  LastDrill drill{kept.id,
                  fromIso(jsonTextOr(kept.document, "started_at", "")).value_or(0),
                  kept.authentic,
                  kept.authentic && jsonFlagOr(kept.document, "passed", false),
                  {},
                  {}};
  if (kept.authentic && jsonFlagOr(kept.document, "recovered", false)) {
    drill.rto_seconds = jsonNumberOr(kept.document, "rto_seconds", 0);
    drill.rpo_seconds = jsonNumberOr(kept.document, "rpo_seconds", 0);
  }
  return drill;
}

// Restoring takes time by the byte; what was drilled may have been smaller.
std::optional<double> predictRto(const fs::path& directory, const crypto::Keyring& keyring,
                                 const std::vector<KindState>& kinds) {
  const auto all = history(directory, keyring);
  for (auto kept = all.rbegin(); kept != all.rend(); ++kept) {
    if (!kept->authentic || !jsonFlagOr(kept->document, "recovered", false)) continue;
    const auto seconds = jsonNumberOr(kept->document, "rto_seconds", 0);
    const auto drilled = jsonNumberOr(kept->document, "backup_bytes", 0);
    const auto* kind = jsonTextOr(kept->document, "kind", "") == "physical" ? "base" : "full";
    for (const auto& state : kinds) {
      if (state.rule.kind == kind && state.newest && drilled > 0)
        return seconds * std::max(1.0, static_cast<double>(state.newest->manifest->storedSize()) / drilled);
    }
    return seconds;
  }
  return std::nullopt;
}
}  // namespace

const KindState& RecoveryState::kind(const std::string& name) const {
  const auto found =
      std::find_if(kinds.begin(), kinds.end(), [&](const KindState& state) { return state.rule.kind == name; });
  ARAGORA_CHECK(found != kinds.end());
  return *found;
}

std::optional<double> RecoveryState::lagSeconds() const {
  if (!log || log->durable_through == 0) return std::nullopt;
  return std::max(0.0, static_cast<double>(at - log->durable_through) / 1e6);
}

std::optional<double> RecoveryState::offsiteLagSeconds() const {
  if (!offsite || offsite->durable_through == 0) return std::nullopt;
  // What is there is all that there is.
  if (log && offsite->flushed >= log->flushed) return lagSeconds();
  return std::max(0.0, static_cast<double>(at - offsite->durable_through) / 1e6);
}

RecoveryState recoveryState(const fs::path& directory, const backup::Policy& policy, const crypto::Keyring& keyring) {
  RecoveryState state;
  state.at = nowMicros();
  for (const auto& rule : policy) state.kinds.push_back(look(directory, rule, state.at));
  const backup::WalArchive archive(directory / "wal", keyring);
  if (archive.segmentSize() > 0) {
    state.window = backup::recoveryWindow(directory, keyring);
    state.log = archive.readStatus();
    state.offsite = backup::offsiteLogStatus(directory);
  }
  state.copy = backup::offsiteStatus(directory);
  if (const auto& full = state.kind("full").newest; full && full->manifest->engine == "sqlite")
    state.newest_increment = backup::newestIncrement(*full, keyring);
  state.drill = lastDrill(directory, keyring);
  state.predicted_rto_seconds = predictRto(directory, keyring, state.kinds);
  struct statvfs space {};
  if (::statvfs(directory.c_str(), &space) == 0)
    state.free_bytes = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  return state;
}

}  // namespace aragora::drill
