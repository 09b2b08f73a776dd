// People who may use the API: users with a password and a role, and their sessions. A login opens a session, a family
// of refresh tokens of which one is good at a time (RFC 9700 section 4.14.2): a token that comes back after its
// successor was issued ends the whole session. Only digests of refresh tokens and Argon2id hashes of passwords are
// stored. Whatever happens to an account is in the audit log, in the same transaction. Thread-safe; every call but
// readAccessToken() uses the database.
#pragma once

#include <chrono>
#include <vector>

#include "common/accounts/second_factor.h"
#include "common/accounts/users.h"
#include "common/base/reloadable.h"

namespace aragora::accounts {

// What a login or a refresh answers: tokens, or the token that a second factor turns into them.
struct Login {
  User user;
  std::string access_token;
  std::int64_t access_expires_at = 0;  // seconds since the Unix epoch
  std::string refresh_token;
  std::string pending_token;  // then everything but the user is empty
};

// A login that goes on, over all of its refresh tokens.
struct Session {
  std::string id;
  std::string user;
  std::string address;
  std::string device;
  Micros created_at = 0;
  Micros last_used_at = 0;
  Micros expires_at = 0;
};

struct LiveSession {
  User user;
  std::optional<Micros> stepped_up_at;
};

struct AccountsOptions {
  Secret token_secret;  // signs access tokens; where nobody logs in none is needed
  std::chrono::hours access_lifetime{24};
  std::chrono::hours refresh_lifetime{24 * 30};
  Secret previous_token_secret = {};  // whose tokens are read until they expire
};

class Accounts {
 public:
  // Database and keyring must outlive it.
  Accounts(database::Database& database, const crypto::Keyring& keyring, AccountsOptions options = {});
  // Other secrets for access tokens, from the next one on; the lifetimes stay.
  void reload(Secret token_secret, Secret previous_token_secret);

  // For administrators; `actor` is who did it. Error(Validation) for an address, role or password that will not do,
  // Error(Conflict) for an address that is taken, Error(NotFound).
  User add(const std::string& email, const std::string& name, Role role, const Secret& password,
           const std::string& actor);
  std::vector<User> list(const Page& page = {});
  std::int64_t count();
  // These end every session of the user, and whatever else was handed out to them (users.h). All but the first:
  // Error(Conflict) when that would leave no administrator who may log in.
  void setPassword(const std::string& email, const Secret& password, const std::string& actor);
  void setActive(const std::string& email, bool active, const std::string& actor);
  // False, and nothing done, when that is their role already.
  bool setRole(const std::string& email, Role role, const std::string& actor);
  // With sessions and API keys; debates belong to the deployment and stay, the audit log keeps the id.
  void remove(const std::string& email, const std::string& actor);

  // Error(Unauthorized) with one text for an unknown address, a wrong password and an account that is off, after the
  // same time. With a second factor and without a code it is pending.
  Login logIn(const std::string& email, const Secret& password, const Client& client, const std::string& code = {});
  // The rest of one that is pending.
  Login proveSecondFactor(const std::string& pending_token, const std::string& code, const Client& client);
  // The session has proved it now. Error(Unauthorized | RateLimited | Conflict).
  void stepUp(const Access& access, const std::string& code, const Client& client);
  // Whoever has a session proves again who they are: by the password, by a code of the second factor, or by a step-up
  // of the last five minutes. Error(ProveAgain) without any of them, Error(Forbidden | Unauthorized | RateLimited |
  // Conflict).
  void proveAgain(const Access& access, const Secret& password, const std::string& code, const Client& client);
  // What the second factor of an account has counted and what its logins were refused is forgotten.
  void unlock(const std::string& email, const Doer& doer);
  // When that was, if it was lately: then a right password is taken from everywhere.
  std::optional<Micros> unlockedLately(const std::string& email);
  // Where sessions of this account were opened from, the newest first; empty for an unknown address.
  std::vector<std::string> addressesOf(const std::string& email);
  Login refresh(const std::string& refresh_token, const Client& client);
  // What the token says; its session is not looked at.
  Access readAccessToken(std::string_view token) const;
  // The user of a session that lives.
  User requireLive(const Access& access) { return requireSession(access).user; }
  LiveSession requireSession(const Access& access);
  // Which of these have ended.
  std::vector<Access> ended(const std::vector<Access>& sessions);
  // The last used first.
  std::vector<Session> sessions(const std::string& user_id, const Page& page = {});
  std::int64_t countSessions(const std::string& user_id);
  // Of somebody else: all of them, and how many there were. Error(NotFound) without such a user.
  std::int64_t endSessionsOf(const std::string& user_id, const Doer& doer);
  // Error(NotFound) when there is none of theirs that lives.
  void endSession(const std::string& user_id, const std::string& session, const Doer& doer);
  void logOut(const Access& access, const Client& client);
  // Every session of the user; answers how many there were.
  std::int64_t logOutEverywhere(const Access& access, const Client& client);

  SecondFactor& secondFactor() { return second_factor_; }

 private:
  struct Proof {           // of who logs in
    std::string old_hash;  // empty: the password was proved before
    std::string new_hash;
    std::string code;  // of the second factor, where the account has one
  };
  // nullopt when the account changed meanwhile. What a wrong code throws otherwise.
  std::optional<Login> open(User user, const Proof& proof, const Client& client);
  bool steppedUpLately(const Access& access);
  Login tokensFor(User user, const std::string& session, std::string refresh_token) const;
  void record(database::Connection& connection, const std::string& actor, const std::string& action,
              const std::string& user, const Client& client, const std::string& result = "success") const;

  database::Database& database_;
  const crypto::Keyring& keyring_;
  SecondFactor second_factor_;
  std::chrono::hours access_lifetime_;
  Reloadable<AccessTokens> tokens_;
  std::chrono::hours refresh_lifetime_;
};

}  // namespace aragora::accounts
