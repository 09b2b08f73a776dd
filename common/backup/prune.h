// Retention. The plan is a value: what --dry-run prints is what a real run executes. Kept whatever their age: the
// newest good backup, the newest proven one, what is pinned, and enough that two good ones remain.
//
// Age is what a clock says, and a clock can be wrong once: a plan that rests on its word alone, or that removes more
// than an ordinary day does, asks before it is carried out.
#pragma once

#include "common/backup/policy.h"

namespace aragora::backup {

struct PrunePlan {
  struct Item {
    Entry entry;
    bool remove = false;
    std::string reason;
  };
  std::vector<Item> items;  // oldest first
  std::string refusal;      // non-empty: nothing may be removed now, and why
  std::string question;     // non-empty: to be carried out only when somebody says so, and why

  std::size_t removals() const;
};

// What is known of time beside this machine's clock.
struct TimeEvidence {
  Micros now = 0;
  std::vector<Micros> seen;  // moments when something was written down: backups of every kind, the receiver
  Micros confirmed = 0;      // somebody has said that the clock was right until then
};
// Of a deployment's backups at one place, with what the receiver there last wrote down.
TimeEvidence timeEvidence(const storage::Place& place, const crypto::Keyring& keyring, Micros now);

// Pure: decides from the entries (in their order) and the evidence alone.
// Where a window is promised it begins with the newest good one older than it, which is kept too.
PrunePlan planPrune(const std::vector<Entry>& entries, const Rule& rule, const TimeEvidence& evidence);
// How many one run removes at most without a question: what falls due in a day, and in a week of missed runs.
std::size_t ordinaryRemovals(const Rule& rule);

// Executes, under the lock when the place is local; answers the ids removed. What is locked against removal elsewhere
// stays.
std::vector<std::string> executePrune(const Repository& repository, const PrunePlan& plan,
                                      const crypto::Keyring& keyring);

}  // namespace aragora::backup
