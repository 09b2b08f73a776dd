// Which backups of a kind a place holds, signed: <place>/ledger/<kind>.json, written by whoever makes, copies or
// removes one, under the lock for that. What is in it and not there was taken away: else an old state passes for the
// latest. The last one made is told to the database as well (told_heads.h) and to the log, so that an old state of the
// whole place is noticed, too. Ids are enough: they never come twice, and the signed manifest names its own.
#pragma once

#include <map>

#include "common/backup/repository.h"
#include "common/backup/told_heads.h"

namespace aragora::backup {

struct Ledger {
  std::map<std::string, std::int64_t> present;  // id to sequence
  Head head;

  void add(const Head& made);
};

// nullopt when there is none (a place of an older version, or an empty one). Throws Error(Damaged).
std::optional<Ledger> readLedger(const storage::Place& place, Kind kind, const crypto::Keyring& keyring);
// For whoever writes the next one: empty in place of one that is not there or does not hold.
Ledger ledgerToWrite(const storage::Place& place, Kind kind, const crypto::Keyring& keyring);
void writeLedger(const storage::Place& place, Kind kind, const Ledger& ledger, const crypto::Keyring& keyring);

struct LedgerFindings {
  std::vector<std::string> gone;  // recorded and not there
  bool newest = false;            // something made after all that is there is gone
  std::string problem;            // for people; empty when nothing is wrong
  std::string hint;               // and what to type
  bool none = false;              // there are backups and no record: the next one begins it
};
// Of entries that were listed before or after; what changes meanwhile is looked at again.
LedgerFindings compareWithLedger(const storage::Place& place, Kind kind, const std::vector<Entry>& entries,
                                 const crypto::Keyring& keyring, const std::optional<Head>& told);
// Throws Error(Damaged) when what was made last is gone.
void requireNewest(const LedgerFindings& findings);

// Under the lock, after publishing: never fails a backup that is good.
void recordMade(const storage::Place& place, const Manifest& made, const std::vector<Entry>& before,
                const database::Target& target, const crypto::Keyring& keyring);
// Before it is removed.
void recordRemoval(const storage::Place& place, Kind kind, const std::string& id, const crypto::Keyring& keyring);
// What is missing is known to be gone from now on. Answers what.
std::vector<std::string> forgetGone(const storage::Place& place, Kind kind, const std::optional<Head>& told,
                                    const crypto::Keyring& keyring);

}  // namespace aragora::backup
