// What people answered for: entries of the audit log, which is a chain that nobody can alter unseen. A confirmation
// holds for 90 days, one about a release for that version only.
#pragma once

#include "common/checklist/report.h"
#include "common/crypto/keyring.h"
#include "common/database/connection.h"

namespace aragora::checklist {

inline constexpr std::int64_t kConfirmationDays = 90;

// Durable when it returns. Throws Error; one whose entry cannot be written is none.
Confirmation confirm(database::Connection& connection, const crypto::Keyring& keyring, const std::string& box,
                     const std::string& by, const std::string& note, const std::string& actor);
// Throws Error(Damaged) when the log is not what it was: then none of it is believed.
Confirmations confirmations(database::Connection& connection, const crypto::Keyring& keyring);

}  // namespace aragora::checklist
