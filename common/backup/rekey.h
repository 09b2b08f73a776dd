// After a change of keys or recipients: every backup gets a header for the recipients of today and a manifest signed
// with the key of today. Payloads are copied as they are, never decrypted. Each backup changes as a whole or not at all
// (renameat2(2), RENAME_EXCHANGE); a run that was interrupted is gone on with by the next.
#pragma once

#include "common/backup/create.h"

namespace aragora::backup {

struct RekeyReport {
  std::size_t backups = 0;
  std::size_t increments = 0;
  std::size_t log_files = 0;
  std::size_t already = 0;             // backups that were right
  std::vector<std::string> untouched;  // why, a line each: damaged, or sealed for a key that is not known
};

// Under the locks of the repository and of the log: Error(Busy) while a backup or the receiver runs. The keyring must
// hold the keys that open and signed what is there.
RekeyReport rekey(const fs::path& directory, const crypto::Keyring& keyring, const ArtifactOptions& sealing,
                  std::chrono::seconds lock_wait);

}  // namespace aragora::backup
