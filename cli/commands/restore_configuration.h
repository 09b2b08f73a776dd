// `aragora restore --configuration`: needs no configuration, only the backups and something that opens them.
#pragma once

#include "cli/context.h"

namespace aragora::cli {

struct RestoreConfigurationOptions {
  std::optional<std::string> input;     // an id, or a file that was decrypted
  std::optional<std::string> from;      // where the backups are
  std::optional<std::string> identity;  // file of the recovery key
  std::optional<std::string> to;        // directory
  bool dry_run = false;
};

int restoreConfiguration(Context& context, const RestoreConfigurationOptions& options);

}  // namespace aragora::cli
