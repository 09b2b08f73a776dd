// Tickets for a WebSocket, which a browser can give no header: good once, for half a minute, for whoever asked for one.
// A ticket lets in whom its owner's session or key would let in at that moment, and no longer. Thread-safe; every call
// uses the database.
#pragma once

#include "common/accounts/accounts.h"
#include "common/accounts/api_keys.h"
#include "common/accounts/one_time_tokens.h"

namespace aragora::accounts {

class Tickets {
 public:
  static constexpr std::chrono::seconds kLifetime{30};

  // All of them outlive it.
  Tickets(database::Database& database, const crypto::Keyring& keyring, Accounts& accounts, ApiKeys& keys)
      : database_(database), tokens_(keyring), accounts_(accounts), keys_(keys) {}

  // Error(NotFound) when the account is gone.
  Secret issue(const Principal& principal);
  // Error(Unauthorized) for whatever is wrong with it, or with what it stands for.
  Principal redeem(std::string_view ticket);

 private:
  database::Database& database_;
  OneTimeTokens tokens_;
  Accounts& accounts_;
  ApiKeys& keys_;
};

}  // namespace aragora::accounts
