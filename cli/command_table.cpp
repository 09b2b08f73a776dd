#include "cli/command_table.h"

#include "cli/commands/commands.h"

namespace aragora::cli {

std::span<const CommandEntry> commandTable() {
  static constexpr CommandEntry kTable[] = {
      {"serve", "Run the daemon: HTTP API, WebSocket, debates, metrics", declareServe},
      {"reload", "Have the running daemon read its configuration anew, and say what came of it", declareReload},
      {"providers", "List who can be asked, and how they do; --probe asks each for one token", declareProviders},
      {"validate-env", "Check configuration, backends and machine; all findings at once", declareValidateEnv},
      {"migrate", "Apply, show, plan and undo schema migrations (bare: up)", declareMigrate},
      {"verify", "Prove the live data, or look at a running deployment (--url)", declareVerify},
      {"checklist", "Every box of the production checklist: proved, failed, or for a person", declareChecklist},
      {"debate", "Hold a debate and follow it; show, list, cancel, export, replay debates", declareDebate},
      {"backup", "Make, list, verify and prune encrypted backups (bare: create)", declareBackup},
      {"restore", "Restore a backup to a new place, check it, swap it in", declareRestore},
      {"drill", "Restore a backup into scratch, use it, and write down what happened", declareDrill},
      {"audit", "Verify the audit log, and accept what was found against it", declareAudit},
      {"ratings", "Show the ratings of agents, and count them anew", declareRatings},
      {"receipt", "Show, export and verify the receipts of debates", declareReceipt},
      {"notify", "Tell people of failures; try whether they would be told", declareNotify},
      {"support-bundle", "Write one archive for whoever helps; secrets taken out, nothing sent", declareSupportBundle},
      {"user", "Add, list, change, switch off and delete the people who may use the API", declareUser},
      {"init", "Write a first configuration and generate its secrets", declareInit},
      {"config", "Show effective settings and where they come from", declareConfig},
      {"key", "Show what the encryption key is and derive the age identity of backups", declareKey},
      {"completion", "Print a shell completion script", declareCompletion},
      {"version", "Print version and build", declareVersion},
      {"help", "Show the help of a command: help backup verify", declareHelp},
  };
  return kTable;
}

}  // namespace aragora::cli
