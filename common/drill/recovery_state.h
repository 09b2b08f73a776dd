// How well this deployment could be recovered right now: read from the backups, the status files of the receiver and
// the evidence of drills. `backup status`, validate-env and the metrics all say what this says. Reads files only; any
// thread.
#pragma once

#include "common/backup/offsite.h"
#include "common/backup/physical/recover.h"
#include "common/backup/policy.h"
#include "common/drill/evidence.h"

namespace aragora::drill {

struct KindState {
  backup::Rule rule;
  std::size_t count = 0;
  std::size_t bad = 0;
  std::optional<backup::Entry> newest;  // good
  std::optional<backup::Entry> proven;
  Micros next_due = 0;  // 0: now; meaningless for what goes by changes
  bool late = false;    // half a period past its time
};

struct LastDrill {
  std::string id;
  Micros at = 0;
  bool authentic = false;
  bool passed = false;
  std::optional<double> rto_seconds;
  std::optional<double> rpo_seconds;
};

struct RecoveryState {
  Micros at = 0;
  std::vector<KindState> kinds;  // in the order of the policy
  std::optional<Micros> newest_increment;
  std::optional<backup::RecoveryWindow> window;
  std::optional<backup::WalStatus> log;       // the receiver here
  std::optional<backup::WalStatus> offsite;   // the log elsewhere
  std::optional<backup::OffsiteStatus> copy;  // the backups elsewhere
  std::optional<LastDrill> drill;
  // From the last drill, by the size of what would be restored now; nullopt before the first.
  std::optional<double> predicted_rto_seconds;
  std::uint64_t free_bytes = 0;

  const KindState& kind(const std::string& name) const;
  // Seconds of commits that are not yet safe here, or elsewhere; nullopt when no log is received.
  std::optional<double> lagSeconds() const;
  std::optional<double> offsiteLagSeconds() const;
};

RecoveryState recoveryState(const fs::path& directory, const backup::Policy& policy, const crypto::Keyring& keyring);

}  // namespace aragora::drill
