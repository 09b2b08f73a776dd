// Private to the `user` commands: the accounts of the configured database, while it is open, and who does something to
// them.
#pragma once

#include "cli/audit_trail.h"
#include "cli/commands/commands.h"
#include "common/accounts/accounts.h"
#include "common/accounts/api_keys.h"
#include "common/database/database.h"

namespace aragora::cli {

struct OpenedAccounts {
  std::unique_ptr<database::Database> database;
  accounts::Accounts accounts;
  accounts::ApiKeys keys;

  explicit OpenedAccounts(Context& context);
  // Error(NotFound).
  accounts::User user(const std::string& email);
};

inline accounts::Doer doer() { return {operatorName(), {}}; }
std::string requireEmail(const std::optional<std::string>& email);
// A secret that is shown this once: to be caught from standard output, with what it is on standard error.
void showOnce(const Output& out, std::string_view what, const Secret& secret);

void declareUserLinks(CommandLine& line);
void declareUserKey(CommandLine line);
void declareUserMfa(CommandLine line);

}  // namespace aragora::cli
