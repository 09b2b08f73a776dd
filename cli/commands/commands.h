// One declaration a command; each is defined in the file of its name.
#pragma once

#include "cli/command_line.h"
#include "cli/context.h"

namespace aragora::cli {

void declareServe(CommandLine line);
void declareReload(CommandLine line);
void declareProviders(CommandLine line);
void declareValidateEnv(CommandLine line);
void declareMigrate(CommandLine line);
void declareVerify(CommandLine line);
void declareChecklist(CommandLine line);
void declareAudit(CommandLine line);
void declareBackup(CommandLine line);
void declareRestore(CommandLine line);
void declareDrill(CommandLine line);
void declareInit(CommandLine line);
void declareConfig(CommandLine line);
void declareNotify(CommandLine line);
void declareSupportBundle(CommandLine line);
void declareDebate(CommandLine line);
void declareKey(CommandLine line);
void declareReceipt(CommandLine line);
void declareUser(CommandLine line);
void declareRatings(CommandLine line);
void declareCompletion(CommandLine line);
void declareVersion(CommandLine line);
void declareHelp(CommandLine line);

}  // namespace aragora::cli
