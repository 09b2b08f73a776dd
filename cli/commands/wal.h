// The commands about PostgreSQL's write-ahead log: `backup wal` and `backup wal-push` store it, `restore wal-get` hands
// it to a recovering server. Each is declared below its parent command.
#pragma once

#include "cli/command_line.h"

namespace aragora::cli {

void declareWalReceive(CommandLine line);
void declareWalPush(CommandLine line);
void declareWalGet(CommandLine line);

}  // namespace aragora::cli
