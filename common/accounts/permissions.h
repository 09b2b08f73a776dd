// Who may do what: one caller, one permission for each route, one table. Pure values, any thread.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/accounts/access_token.h"

namespace aragora::accounts {

enum class Role { Viewer, Member, Admin };
std::string_view roleName(Role role);
std::optional<Role> parseRole(std::string_view name);

enum class Caller {
  Nobody,     // no credentials
  Anonymous,  // development on a loopback address, without credentials
  Monitor,    // the metrics token, or a loopback reader where there is none
  Operator,   // the API token
  User,       // a session that lives
};

enum class Permission { Public, ReadDebates, RunDebates, ReadAgents, ReadMetrics, OwnAccount };
std::string_view permissionName(Permission permission);
std::span<const Permission> allPermissions();

struct Principal {
  Caller caller = Caller::Nobody;
  std::string user;  // of User: the id
  Role role = Role::Viewer;
  std::optional<Access> access;  // of User

  // "anonymous", "monitor", "token", "user:ID"; empty for nobody. Owns idempotency keys and debates, acts in the audit.
  std::string name() const;
};

bool permits(const Principal& principal, Permission permission);

}  // namespace aragora::accounts
