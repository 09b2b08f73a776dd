// People who may use the API: users with a password and a role, and their sessions. A login opens a session, a family
// of refresh tokens of which one is good at a time (RFC 9700 section 4.14.2): a token that comes back after its
// successor was issued ends the whole session. Only digests of refresh tokens and Argon2id hashes of passwords are
// stored. Whatever happens to an account is in the audit log, in the same transaction. Thread-safe; every call but
// readAccessToken() uses the database.
#pragma once

#include <chrono>

#include "common/accounts/permissions.h"
#include "common/base/clock.h"
#include "common/crypto/keyring.h"
#include "common/database/database.h"

namespace aragora::accounts {

struct User {
  std::string id;
  std::string email;  // lower case
  std::string name;
  Role role = Role::Member;
  bool active = true;
  std::int64_t token_version = 1;
  Micros created_at = 0;
  Micros updated_at = 0;
  std::optional<Micros> last_login_at;
};

// Where a request comes from, for the audit log.
struct Client {
  std::string address;
  std::string device;
  std::string request_id;
};

struct Login {
  User user;
  std::string access_token;
  std::int64_t access_expires_at = 0;  // seconds since the Unix epoch
  std::string refresh_token;
};

// Under which an account is found, however its address was typed. Limits must count by it, too.
std::string normalisedEmail(const std::string& email);

// Throws Error(Validation) for what is no role.
Role requireRole(const std::string& name);

// A random password that nobody has to invent.
Secret randomPassword();

struct AccountsOptions {
  Secret token_secret;  // signs access tokens; where nobody logs in none is needed
  std::chrono::hours access_lifetime{24};
  std::chrono::hours refresh_lifetime{24 * 30};
};

class Accounts {
 public:
  // Database and keyring must outlive it.
  Accounts(database::Database& database, const crypto::Keyring& keyring, AccountsOptions options = {});

  // For administrators; `actor` is who did it. Error(Validation) for an address, role or password that will not do,
  // Error(Conflict) for an address that is taken, Error(NotFound).
  User add(const std::string& email, const std::string& name, Role role, const Secret& password,
           const std::string& actor);
  std::vector<User> list();
  // These end every session of the user. All but the first: Error(Conflict) when that would leave no administrator who
  // may log in.
  void setPassword(const std::string& email, const Secret& password, const std::string& actor);
  void setActive(const std::string& email, bool active, const std::string& actor);
  // False, and nothing done, when that is their role already.
  bool setRole(const std::string& email, Role role, const std::string& actor);
  // With sessions and API keys; debates belong to the deployment and stay, the audit log keeps the id.
  void remove(const std::string& email, const std::string& actor);

  // Error(Unauthorized) with one text for an unknown address, a wrong password and an account that is off, after the
  // same time.
  Login logIn(const std::string& email, const Secret& password, const Client& client);
  // Where sessions of this account were opened from, the newest first; empty for an unknown address.
  std::vector<std::string> addressesOf(const std::string& email);
  Login refresh(const std::string& refresh_token, const Client& client);
  // What the token says; its session is not looked at.
  Access readAccessToken(std::string_view token) const;
  // The user of a session that lives.
  User requireLive(const Access& access);
  void logOut(const Access& access, const Client& client);
  // Every session of the user; answers how many there were.
  std::int64_t logOutEverywhere(const Access& access, const Client& client);

 private:
  Login tokensFor(User user, const std::string& session, std::string refresh_token) const;
  void record(database::Connection& connection, const std::string& actor, const std::string& action,
              const std::string& user, const Client& client, const std::string& result = "success") const;

  database::Database& database_;
  const crypto::Keyring& keyring_;
  AccessTokens tokens_;
  std::chrono::hours refresh_lifetime_;
};

}  // namespace aragora::accounts
