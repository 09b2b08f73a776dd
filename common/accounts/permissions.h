// Who may do what: one caller, one permission for each route, one table. Pure values, any thread.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "common/accounts/access_token.h"
#include "common/base/clock.h"

namespace aragora::accounts {

enum class Role { Viewer, Member, Admin };
std::string_view roleName(Role role);
std::optional<Role> parseRole(std::string_view name);

enum class Caller {
  Nobody,     // no credentials
  Anonymous,  // development on a loopback address, without credentials
  Monitor,    // the metrics token, or a loopback reader where there is none
  Operator,   // the API token
  User,       // a session or an API key that lives
};

// Of what its owner may, an API key does what its scopes say.
enum class Scope { Read, Write, Account };
std::string_view scopeName(Scope scope);
std::optional<Scope> parseScope(std::string_view name);
using Scopes = std::set<Scope>;
std::string scopesText(const Scopes& scopes);              // "read write"
Scopes parseScopes(std::string_view text);                 // what it knows of them
Scopes requireScopes(std::span<const std::string> names);  // Error(Validation) for what is none

enum class Permission {
  Public,
  ReadDebates,
  RunDebates,
  ReadAgents,
  ReadMetrics,
  OwnAccount,      // to see one's own account
  OwnCredentials,  // to change what one logs in with: with a session, never with an API key
  Administer,      // other people's accounts: the same, of an administrator
};
std::string_view permissionName(Permission permission);
std::span<const Permission> allPermissions();
// What an API key needs for it; nullopt where none will do, or none is needed.
std::optional<Scope> scopeFor(Permission permission);

// The API key that somebody showed.
struct KeyUse {
  std::string id;
  Scopes scopes;
  Micros expires_at = 0;
};

struct Principal {
  Caller caller = Caller::Nobody;
  std::string user;  // of User: the id
  Role role = Role::Viewer;
  std::optional<Access> access;              // of User: the session, or
  std::optional<KeyUse> key = {};            // the key
  std::optional<Micros> stepped_up_at = {};  // when the session last proved a second factor

  // "anonymous", "monitor", "token", "user:ID"; empty for nobody. Owns idempotency keys and debates, acts in the audit.
  std::string name() const;
};

bool permits(const Principal& principal, Permission permission);
// Members change and cancel what is theirs, administrators and the deployment itself everything.
bool mayChange(const Principal& principal, std::string_view owner);

}  // namespace aragora::accounts
