// The second factor of an account: codes by time from an authenticator (RFC 6238) and ten recovery codes that are good
// once each. The secret is sealed with the encryption key; a step of time is taken by one statement, so that of two
// instances that see the same code one lets it pass; five wrong codes in five minutes are the most, over all instances
// (RFC 4226 section 7.3). Thread-safe; every call uses the database and is in the audit log.
#pragma once

#include <vector>

#include "common/accounts/users.h"

namespace aragora::accounts {

class SecondFactor {
 public:
  static constexpr std::int64_t kMostTries = 5;
  static constexpr Micros kTriesCount = 300'000'000;
  static constexpr std::size_t kRecoveryCodes = 10;

  // Both outlive it.
  SecondFactor(database::Database& database, const crypto::Keyring& keyring) : database_(database), keyring_(keyring) {}

  struct Enrolment {
    Secret secret;  // base 32, to be typed
    Secret uri;     // to be scanned
  };
  // A new secret, which counts once confirm() has seen a code of it. Error(Conflict) when there is a factor already.
  Enrolment enrol(const std::string& user_id, const Doer& doer);
  // The recovery codes, which nobody will see again. Error(Conflict | Unauthorized | RateLimited).
  std::vector<Secret> confirm(const std::string& user_id, const std::string& code, const Doer& doer);
  // A code of the authenticator or a recovery code, which are spent. Error(Unauthorized | RateLimited | Conflict).
  void require(const std::string& user_id, const std::string& code, const Doer& doer);
  // The same inside a write transaction of the caller's, which must be committed whatever the answer is: tries count.
  // Until its end nobody changes the factor. requireRight() then throws what require() does.
  enum class Answer { Right, Wrong, TooMany, NoFactor };
  Answer prove(database::Connection& connection, const std::string& user_id, const std::string& code, const Doer& doer);
  static void requireRight(Answer answer);
  // Ten new ones; those of before are good no more. Error(Conflict) without a factor. With a code whoever asks proves
  // the factor by the way: Error(Unauthorized | RateLimited).
  std::vector<Secret> renewCodes(const std::string& user_id, const Doer& doer,
                                 const std::optional<std::string>& code = std::nullopt);
  std::size_t codesLeft(const std::string& user_id);
  // The same of a code. Error(NotFound).
  void remove(const std::string& user_id, const Doer& doer, const std::optional<std::string>& code = std::nullopt);

 private:
  // `confirming`: the secret that does not count yet.
  Answer look(database::Connection& connection, const std::string& user_id, const std::string& code, bool confirming,
              const Doer& doer);
  bool takeStep(database::Connection& connection, const std::string& user_id, const std::string& sealed,
                const std::string& code);
  bool takeRecoveryCode(database::Connection& connection, const std::string& user_id, const std::string& stored,
                        const std::string& code);
  std::string digestOf(const std::string& user_id, const std::string& code, const std::string& key) const;
  std::string storedForm(const std::string& user_id, const std::vector<Secret>& codes) const;

  database::Database& database_;
  const crypto::Keyring& keyring_;
};

}  // namespace aragora::accounts
