// `aragora backup create`: one backup or nothing: of what its kind says. Previous backups and `latest`
// stay as they are until the new one is complete, on disk and has passed level 0.
#pragma once

#include "common/backup/artifact.h"
#include "common/backup/policy.h"
#include "common/config/config.h"
#include "common/database/connection.h"

namespace aragora::backup {

struct CreateOptions {
  fs::path directory;
  Kind kind = Kind::Full;
  database::Target target;
  const crypto::Keyring* keyring = nullptr;
  std::vector<std::string> extra_recipients;  // age1…
  int compression_level = 1;
  std::uint64_t max_rate = 0;
  std::chrono::seconds lock_wait{0};       // for another run in the same directory to end
  const config::Config* config = nullptr;  // its settings become a file, without secrets but in Kind::Configuration
  Progress* progress = nullptr;
};

// Into backup.directory, with the recipients and the compression that the settings name; `config` must outlive it.
CreateOptions createOptions(const config::Config& config, const database::Target& target,
                            const crypto::Keyring& keyring);
ArtifactOptions sealingOf(const CreateOptions& options);

Entry createBackup(const CreateOptions& options);
// Whether the settings differ from those of the newest good backup of kind Configuration, or it is of the future.
bool configurationChanged(const CreateOptions& options);
// Everything that the policy says is due now, each verified to level 1 (0 where backups cannot be opened); bases only
// where there is a log to go on with. Decided under the lock: of runs that overlap one makes it.
std::vector<Entry> createWhatIsDue(const CreateOptions& options, const Policy& policy);

}  // namespace aragora::backup
