#include "cli/command_table.h"

#include "cli/commands/commands.h"

namespace aragora::cli {

namespace {
// Whoever uses the database or the backups meets all of them; 1 is for who looks for something.
constexpr std::string_view kOfData = "0 64 65 66 69 70 73 74 75 77 78 130";
constexpr std::string_view kOfDataOrFound = "0 1 64 65 66 69 70 73 74 75 77 78 130";
constexpr std::string_view kOfRestore = "0 1 64 65 66 69 70 73 74 75 77 78 130 200";  // PostgreSQL stops at 200
}  // namespace

std::span<const CommandEntry> commandTable() {
  static constexpr CommandEntry kTable[] = {
      {"serve", "Run the daemon: HTTP API, WebSocket, debates, metrics", declareServe, "0 64 65 69 70 73 74 75 77 78"},
      {"reload", "Have the running daemon read its configuration anew, and say what came of it", declareReload,
       "0 64 65 69 70 73 74 77 78 130"},
      {"providers", "List who can be asked, and how they do; --probe asks each for one token", declareProviders,
       "0 1 64 70 74 77 78 130"},
      {"validate-env", "Check configuration, backends and machine; all findings at once", declareValidateEnv,
       "0 1 64 69 70 74 77 78 130"},
      {"migrate", "Apply, show, plan and undo schema migrations (bare: up)", declareMigrate, kOfDataOrFound},
      {"verify", "Prove the live data, or look at a running deployment (--url)", declareVerify, kOfDataOrFound},
      {"checklist", "Every box of the production checklist: proved, failed, or for a person", declareChecklist,
       kOfDataOrFound},
      {"debate", "Hold a debate and follow it; show, list, cancel, export, replay debates", declareDebate,
       kOfDataOrFound},
      {"backup", "Make, list, verify and prune encrypted backups (bare: create)", declareBackup, kOfDataOrFound},
      {"restore", "Restore a backup to a new place, check it, swap it in", declareRestore, kOfRestore},
      {"drill", "Restore a backup into scratch, use it, and write down what happened", declareDrill, kOfDataOrFound},
      {"audit", "Verify the audit log, and accept what was found against it", declareAudit, kOfData},
      {"ratings", "Show the ratings of agents, and count them anew", declareRatings, kOfDataOrFound},
      {"receipt", "Show, export and verify the receipts of debates", declareReceipt, kOfDataOrFound},
      {"notify", "Tell people of failures; try whether they would be told", declareNotify,
       "0 64 69 70 73 74 75 77 78 130"},
      {"support-bundle", "Write one archive for whoever helps; secrets taken out, nothing sent", declareSupportBundle,
       "0 64 70 73 74 77 130"},
      {"user", "Add, list, change, switch off and delete the people who may use the API", declareUser, kOfData},
      {"init", "Write a first configuration and generate its secrets", declareInit, "0 64 70 73 74 77 78"},
      {"config", "Show effective settings and where they come from", declareConfig, "0 64 70 74 77 78 130"},
      {"key", "Show what the encryption key is and derive the age identity of backups", declareKey, kOfData},
      {"completion", "Print a shell completion script", declareCompletion, "0 64 70 74"},
      {"version", "Print version and build", declareVersion, "0 64 70 74"},
      {"help", "Show the help of a command: help backup verify", declareHelp, "0 64 70 74"},
  };
  return kTable;
}

}  // namespace aragora::cli
