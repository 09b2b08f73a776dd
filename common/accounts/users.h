// People as rows: the columns, the way back, and what every change of them has in common. Functions that take a
// connection run inside the caller's transaction.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/accounts/permissions.h"
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/secret.h"
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
  bool second_factor = false;
  bool email_verified = true;  // an administrator answers for it; not so of who registered
  std::string preferences = "{}";
};

// Where a request comes from, for the audit log.
struct Client {
  std::string address;
  std::string device;
  std::string request_id;
};

// Who does something to an account: "cli:root" or "user:ID".
struct Doer {
  std::string actor;
  Client client;
};

// A part of a list; all of it when nothing is said.
struct Page {
  std::int64_t limit = INT64_MAX;
  std::int64_t offset = 0;
};

// Under which an account is found, however its address was typed. Limits must count by it, too.
std::string normalisedEmail(const std::string& email);
// Whether it can be one at all: what is none is not looked for.
bool isAddress(const std::string& email);
// Normalised; Error(Validation) for what is no address.
std::string requireEmail(const std::string& given);
// Error(Validation) for one that is too long, or would garble what shows it.
void requireName(const std::string& name);
// Error(Validation), saying why, for a password that will not do.
void requirePassword(const Secret& password, const std::string& email);
inline constexpr std::size_t kLongestPassword = 1024;

// Throws Error(Validation) for what is no role.
Role requireRole(const std::string& name);

// A random password that nobody has to invent.
Secret randomPassword();

inline constexpr std::string_view kUserColumns =
    "u.id, u.email, u.name, u.role, u.is_active, u.token_version, u.created_at, u.updated_at, u.last_login_at, "
    "u.mfa_enabled, u.email_verified, u.preferences";
inline constexpr std::size_t kUserWidth = 12;
User userOf(const database::Row& row);

std::optional<User> findUser(database::Connection& connection, const std::string& email);
User requireUser(database::Connection& connection, const std::string& email);        // Error(NotFound)
User requireUserById(database::Connection& connection, const std::string& user_id);  // Error(NotFound)

// The same, for whoever changes the account: nobody else does until the transaction ends, so that what was looked at
// here still holds there. First of all that such a transaction locks. Error(NotFound).
User lockUser(database::Connection& connection, const std::string& email);
User lockUserById(database::Connection& connection, const std::string& user_id);
// What a SELECT of `users u` ends with, to do so. SQLite has one writer.
std::string_view lockingUser(const database::Connection& connection);

// A row of its own, unless the address is somebody's already, however close behind us. Error(Conflict).
void insertUser(database::Connection& connection, const User& user, const std::string& password_hash);

// After `user` was changed, and recorded: the record holds the audit chain's lock, so that of two who take each other's
// role away the second sees what the first did.
void requireAnAdmin(database::Connection& connection, const User& user);
// Whether somebody else than `but` can administer at all.
bool anyAdmin(database::Connection& connection, const std::string& but = "");

void record(database::Connection& connection, const crypto::Keyring& keyring, const Doer& doer,
            const std::string& action, const std::string& user, const std::string& result = "success",
            json::object details = {});

// Whether it was alive. Of one that is refreshed at the moment, the new one too.
bool endSession(database::Connection& connection, const std::string& user, const std::string& session);
[[noreturn]] void refuseSession();
// Ends them, and answers how many there were. Those that are refreshed at the moment are among them.
std::int64_t endSessions(database::Connection& connection, const std::string& user);
// With them whatever else was handed out to the account as it was: links and tickets that are good once, and a second
// factor that waits for its first code. API keys stay: programs hold them, and each does what the account may.
void endWhatWasHandedOut(database::Connection& connection, const std::string& user);

}  // namespace aragora::accounts
