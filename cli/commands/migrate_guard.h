// What `migrate` wants in production before it changes the schema of data: a backup of the last 24 hours that was
// restored to prove it. Evidence is what `backup status` counts, not that a file is there.
#pragma once

#include "cli/context.h"

namespace aragora::cli {

struct BackupGuard {
  bool wanted = false;  // in production, where there is data
  std::string backup;   // its id
  std::string proof;    // "20261127T021500Z-…, verified"
  std::string lack;     // why there is none
  bool met() const { return lack.empty(); }
  // Throws Error(CheckFailed) with what to type; `command` is the one that was refused.
  void require(const std::string& command) const;
};

// Of a backup that has the migrations up to `schema`; 0: whichever it has.
BackupGuard lookForBackup(Context& context, int schema = 0);
json::value describe(const BackupGuard& guard);  // null where none is wanted

}  // namespace aragora::cli
