// What is known about the audit log outside the database: where it ended, in every backup's manifest, here and
// elsewhere, and in a signed file of the state directory that the daemon keeps; when an older state took the database's
// place, which a restore writes down there; and what somebody else wrote in the place of these, which is evidence: it
// is kept in STATE/audit-evidence, and stays a finding until an operator has looked at it. Stateless.
#pragma once

#include <chrono>
#include <map>

#include "common/audit/audit.h"
#include "common/storage/place.h"

namespace aragora::backup {

// STATE/audit-head.json. What lies there and is not ours is set aside first. Throws Error(Io | Permission).
void noteAuditHead(const fs::path& state_directory, const audit::Head& head, const std::string& database,
                   const crypto::Keyring& keyring);
// STATE/restored.json, in the same way.
void noteRestored(const fs::path& state_directory, const std::string& what, const crypto::Keyring& keyring);

struct AuditNotes {
  std::vector<audit::Witness> witnesses;  // the state directory's, then the newest backups'
  Micros accepted_at = 0;                 // what was seen before was replaced by a restore, or accepted by an operator
  std::vector<std::string> unread;        // for people: what should say something and could not be asked
  std::vector<std::string> forged;        // what is there in the place of a note of ours, and what was set aside

  void add(AuditNotes more);
};
// `database` is the deployment's instance id: what was written down about another one says nothing here.
AuditNotes stateNotes(const fs::path& state_directory, const std::string& database, const crypto::Keyring& keyring);
// What the newest manifests of every kind say. A place elsewhere is asked in a thread of its own, which may outlive the
// call: what did not answer within `patience` is unread.
AuditNotes manifestNotes(const storage::Place& backups, const std::string& database, const crypto::Keyring& keyring);
AuditNotes manifestNotes(const storage::Place& elsewhere, const std::string& database, const crypto::Keyring& keyring,
                         std::chrono::milliseconds patience);

// Somebody has looked: what was set aside is kept in a folder of its own and is no finding any more, nor is what the
// log lacks of what was seen before now. What there was, a line each.
std::vector<std::string> acceptAudit(const fs::path& state_directory, const std::string& reason,
                                     const crypto::Keyring& keyring);
// By the key that signed them; what no key at hand did is of «?».
std::map<std::string, std::int64_t> notesBy(const fs::path& state_directory, const crypto::Keyring& keyring);
// Puts the notes under the active key. Those of nobody stay as they are. How many there were.
std::size_t signNotesAnew(const fs::path& state_directory, const crypto::Keyring& keyring);

}  // namespace aragora::backup
