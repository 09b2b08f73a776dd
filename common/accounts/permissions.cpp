#include "common/accounts/permissions.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::accounts {

namespace {
struct RoleName {
  Role role;
  std::string_view name;
};
constexpr RoleName kRoles[] = {{Role::Viewer, "viewer"}, {Role::Member, "member"}, {Role::Admin, "admin"}};

constexpr Names<Scope, 3> kScopes = {{{Scope::Read, "read"}, {Scope::Write, "write"}, {Scope::Account, "account"}}};

// A column for each kind of caller; a user's is that of the role, and with an API key it takes the scope as well.
struct Row {
  Permission permission;
  std::string_view name;
  bool nobody, monitor, anonymous, token, viewer, member, admin;
  std::optional<Scope> scope = {};
};
constexpr Row kTable[] = {
    //                                          nobody monitor anonymous token viewer member admin
    {Permission::Public, "public", true, true, true, true, true, true, true},
    {Permission::ReadDebates, "read_debates", false, false, true, true, true, true, true, Scope::Read},
    {Permission::RunDebates, "run_debates", false, false, true, true, false, true, true, Scope::Write},
    {Permission::ReadAgents, "read_agents", false, false, true, true, true, true, true, Scope::Read},
    {Permission::ReadMetrics, "read_metrics", false, true, true, false, false, false, false},
    {Permission::OwnAccount, "own_account", false, false, false, false, true, true, true, Scope::Account},
    {Permission::OwnCredentials, "own_credentials", false, false, false, false, true, true, true},
    {Permission::Administer, "administer", false, false, false, false, false, false, true},
};

const Row& rowOf(Permission permission) {
  return *std::find_if(std::begin(kTable), std::end(kTable),
                       [&](const Row& row) { return row.permission == permission; });
}
}  // namespace

std::string_view roleName(Role role) { return kRoles[static_cast<std::size_t>(role)].name; }

std::optional<Role> parseRole(std::string_view name) {
  for (const auto& entry : kRoles) {
    if (entry.name == name) return entry.role;
  }
  return std::nullopt;
}

std::string_view scopeName(Scope scope) { return nameIn(kScopes, scope); }

std::optional<Scope> parseScope(std::string_view name) { return parseIn(kScopes, name); }

std::string scopesText(const Scopes& scopes) {
  std::vector<std::string> names;
  for (const auto scope : scopes) names.emplace_back(scopeName(scope));
  return join(names, " ");
}

Scopes parseScopes(std::string_view text) {
  Scopes scopes;
  for (const auto& name : split(text, ' ')) {
    if (const auto scope = parseScope(name)) scopes.insert(*scope);
  }
  return scopes;
}

Scopes requireScopes(std::span<const std::string> names) {
  Scopes scopes;
  for (const auto& name : names) {
    const auto scope = parseScope(name);
    if (!scope)
      throw Error(Code::Validation, fmt::format("{} is no scope", printable(name, 40)), "use read, write or account");
    scopes.insert(*scope);
  }
  return scopes;
}

std::optional<Scope> scopeFor(Permission permission) { return rowOf(permission).scope; }

std::string_view permissionName(Permission permission) { return rowOf(permission).name; }

std::span<const Permission> allPermissions() {
  static const auto all = [] {
    std::array<Permission, std::size(kTable)> result{};
    std::transform(std::begin(kTable), std::end(kTable), result.begin(), [](const Row& row) { return row.permission; });
    return result;
  }();
  return all;
}

std::string Principal::name() const {
  switch (caller) {
    case Caller::Nobody:
      return "";
    case Caller::Anonymous:
      return "anonymous";
    case Caller::Monitor:
      return "monitor";
    case Caller::Operator:
      return "token";
    case Caller::User:
      return "user:" + user;
  }
  return "";
}

bool permits(const Principal& principal, Permission permission) {
  const auto& row = rowOf(permission);
  switch (principal.caller) {
    case Caller::Nobody:
      return row.nobody;
    case Caller::Anonymous:
      return row.anonymous;
    case Caller::Monitor:
      return row.monitor;
    case Caller::Operator:
      return row.token;
    case Caller::User:
      if (principal.key && !row.nobody && (!row.scope || principal.key->scopes.count(*row.scope) == 0)) return false;
      return principal.role == Role::Viewer ? row.viewer : principal.role == Role::Member ? row.member : row.admin;
  }
  return false;
}

bool mayChange(const Principal& principal, std::string_view owner) {
  if (!permits(principal, Permission::RunDebates)) return false;
  return principal.caller != Caller::User || principal.role == Role::Admin || principal.name() == owner;
}

}  // namespace aragora::accounts
