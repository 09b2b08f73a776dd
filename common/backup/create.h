// `aragora backup create`: one backup, logical ("full") or of the whole PostgreSQL cluster ("base"), or nothing.
// Previous backups and `latest` stay as they are until the new one is complete, on disk and has passed level 0.
#pragma once

#include "common/backup/repository.h"
#include "common/config/config.h"
#include "common/database/connection.h"

namespace aragora::backup {

struct CreateOptions {
  fs::path directory;
  std::string kind = "full";
  database::Target target;
  const crypto::Keyring* keyring = nullptr;
  std::vector<std::string> extra_recipients;  // age1…
  int compression_level = 1;
  std::uint64_t max_rate = 0;
  const config::Config* config = nullptr;  // its settings, secrets left out, become an artifact
  std::string tool_version;
  std::function<void(std::uint64_t plain_bytes)> on_progress;
};

Entry createBackup(const CreateOptions& options);

}  // namespace aragora::backup
