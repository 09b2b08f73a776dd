// What is known about the audit log outside the database: where it ended, in every backup's manifest and in a signed
// file of the state directory that the daemon keeps; and when an older state took the database's place, which a restore
// writes down there. Stateless.
#pragma once

#include "common/audit/audit.h"
#include "common/storage/place.h"

namespace aragora::backup {

// STATE/audit-head.json. Throws Error(Io | Permission).
void noteAuditHead(const fs::path& state_directory, const audit::Head& head, const std::string& database,
                   const crypto::Keyring& keyring);
// STATE/restored.json.
void noteRestored(const fs::path& state_directory, const std::string& what, const crypto::Keyring& keyring);

struct AuditNotes {
  std::vector<audit::Witness> witnesses;  // the state directory's, then the newest backups'
  Micros restored_at = 0;
  std::vector<std::string> unread;  // for people: what should say something and cannot be read
};
// `database` is the deployment's instance id: what was written down about another one says nothing here.
AuditNotes stateNotes(const fs::path& state_directory, const std::string& database, const crypto::Keyring& keyring);
// The same, and what the manifests of the newest backups say.
AuditNotes auditNotes(const fs::path& state_directory, const storage::Place& backups, const std::string& database,
                      const crypto::Keyring& keyring);

}  // namespace aragora::backup
