// What `verify` and `audit verify` hold the audit log against.
#pragma once

#include "cli/context.h"
#include "common/backup/audit_notes.h"

namespace aragora::cli {

// Of the state directory, the backups here and, within a few seconds, the copies elsewhere. Nothing for a database that
// cannot be asked who it is: the verification itself says that.
backup::AuditNotes auditNotes(Context& context, const database::Target& target, const crypto::Keyring& keyring);

}  // namespace aragora::cli
