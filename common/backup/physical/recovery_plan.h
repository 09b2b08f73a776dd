// What a recovery is going to do, decided from what is there before anything is made. A dry run shows it, a real run
// executes it, and what it reaches is held against it.
#pragma once

#include "common/backup/physical/recovery_window.h"
#include "common/database/connection.h"

namespace aragora::backup {

struct RecoveryTarget {
  enum class Kind { Latest, Time, Name, Position, Xid, Consistent };
  Kind kind = Kind::Latest;
  std::string value;       // a time in RFC 3339, a name, 16/B374D848, a number
  bool exclusive = false;  // stop just before it
};

std::string describe(const RecoveryTarget& target);
// Throws Error(Usage) for what cannot be one.
void requireWellFormed(const RecoveryTarget& target);

struct PlanOptions {
  storage::Place directory;  // of the backups
  const crypto::Keyring* keyring = nullptr;
  RecoveryTarget target;
  std::optional<std::uint32_t> timeline;   // found out otherwise
  std::optional<std::string> base;         // an id; the newest that fits otherwise
  bool accept_loss = false;                // also when what was confirmed is not all there
  std::uint64_t most_log = 0;              // of Latest: replay at most so many bytes of log behind the base; 0: all
  const database::Target* live = nullptr;  // asked what the receiver confirmed, when it answers
};

struct RecoveryPlan {
  std::vector<Entry> bases;  // that fit, the best first; others only if it turns out to lie behind the target
  WalListing listing;
  WalListing::Branch branch;             // the way to go
  Lsn end = 0;                           // of the log that will be looked at
  bool whole = true;                     // false: `end` is not the end of what there is (most_log)
  std::optional<ConfirmedLog> promised;  // of the branch's last timeline
  std::optional<Micros> covered;         // every commit up to then is in the log before `end`
  std::vector<std::string> notes;        // what should be known
  std::string missing;                   // of what was confirmed; empty: all of it is there
  std::vector<std::string> losses;       // accepted
  std::uint32_t timeline() const { return branch.back().timeline; }
  // Files of the log in the order in which recovery from `base` asks for them.
  std::vector<std::string> order(const PhysicalRecord& base) const;
};

inline constexpr const char* kLossHint =
    "use another copy (--from), or take what there is with --accept-loss; a receiver that runs confirms anew";

// Throws Error(NoInput) naming the recoverable window when the target lies outside of it, Error(Usage) when it lies on
// several timelines, Error(Damaged) when what was confirmed is not there.
RecoveryPlan planRecovery(const PlanOptions& options);

// Whether the replay that ended at `reached` has left out what is in the log before the plan's end: empty, or what, for
// people. A record that was not complete is none.
std::string leftOut(const WalArchive& archive, const RecoveryPlan& plan, Lsn reached);

}  // namespace aragora::backup
