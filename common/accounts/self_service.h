// How people come to an account and change their own: registration, profile, password, and the two links that an
// administrator or the machine's operator hands out, good once and for a while: a new password, the first
// administrator. Each is in the audit log, in the same transaction. Thread-safe; every call uses the database.
#pragma once

#include <chrono>

#include "common/accounts/accounts.h"
#include "common/accounts/one_time_tokens.h"

namespace aragora::accounts {

struct ProfileChange {
  std::optional<std::string> name;
  std::optional<std::string> email;         // nobody answers for it then
  std::optional<json::object> preferences;  // in place of those of before
};

struct NewAccount {
  std::string email;
  std::string name;
  Secret password;
};

class SelfService {
 public:
  static constexpr std::chrono::hours kResetLives{24};
  static constexpr std::chrono::hours kSetupLives{24};
  static constexpr std::size_t kLongestPreferences = 16 * 1024;

  // Both outlive it.
  SelfService(database::Database& database, const crypto::Keyring& keyring)
      : database_(database), keyring_(keyring), tokens_(keyring) {}

  // A member whose address nobody answers for. Error(Validation | Conflict).
  User enlist(const NewAccount& account, const Client& client);
  // An address that is another one ends links that were handed out. Error(Validation | Conflict).
  User change(const std::string& user_id, const ProfileChange& change, const Doer& doer);
  // Ends every session. Error(Forbidden) for a wrong current password, Error(Validation) for the new one,
  // Error(Conflict) when somebody else changed it meanwhile.
  void changePassword(const std::string& user_id, const Secret& current, const Secret& wanted, const Doer& doer);

  // Replaces one that was handed out before. Error(NotFound).
  Secret issueReset(const std::string& email, const Doer& doer);
  // Ends every session. Error(Unauthorized) for a token that is not good.
  User resetPassword(const std::string& token, const Secret& wanted, const Client& client);
  // Error(Conflict) where there is an administrator who may log in.
  Secret issueSetup(const Doer& doer);
  // The same two errors.
  User setUp(const std::string& token, const NewAccount& account, const Client& client);

 private:
  User insert(database::Connection& connection, const NewAccount& account, const std::string& email,
              const std::string& hash, Role role, bool verified) const;
  void changeEmail(database::Connection& connection, const std::string& user_id, const std::string& email,
                   const Doer& doer) const;
  void replacePassword(database::Connection& connection, const std::string& user_id, const std::string& hash) const;

  database::Database& database_;
  const crypto::Keyring& keyring_;
  OneTimeTokens tokens_;
};

}  // namespace aragora::accounts
