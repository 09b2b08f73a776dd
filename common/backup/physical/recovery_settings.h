// What a server is told to recover by: where its log comes from and where to stop. The room that it is sealed in is
// private_cluster.h's. Pure, but for the version that is read from the directory.
#pragma once

#include "common/backup/physical/recovery_plan.h"

namespace aragora::backup {

// How it gets its log; all of it can be reached by the server's user.
struct LogSource {
  fs::path program;  // aragora
  fs::path ahead;    // files that are ready lie there
  fs::path socket;   // of the WalServer
};

std::map<std::string, std::string> recoverySettings(const RecoveryTarget& target, std::uint32_t timeline,
                                                    const fs::path& data, const LogSource& source);

}  // namespace aragora::backup
