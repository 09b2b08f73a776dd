#include "common/accounts/permissions.h"

#include <algorithm>
#include <array>

namespace aragora::accounts {

namespace {
struct RoleName {
  Role role;
  std::string_view name;
};
constexpr RoleName kRoles[] = {{Role::Viewer, "viewer"}, {Role::Member, "member"}, {Role::Admin, "admin"}};

// A column for each kind of caller; a user's is that of the role.
struct Row {
  Permission permission;
  std::string_view name;
  bool nobody, monitor, anonymous, token, viewer, member, admin;
};
constexpr Row kTable[] = {
    //                                          nobody monitor anonymous token viewer member admin
    {Permission::Public, "public", true, true, true, true, true, true, true},
    {Permission::ReadDebates, "read_debates", false, false, true, true, true, true, true},
    {Permission::RunDebates, "run_debates", false, false, true, true, false, true, true},
    {Permission::ReadAgents, "read_agents", false, false, true, true, true, true, true},
    {Permission::ReadMetrics, "read_metrics", false, true, true, false, false, false, false},
    {Permission::OwnAccount, "own_account", false, false, false, false, true, true, true},
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
      return principal.role == Role::Viewer ? row.viewer : principal.role == Role::Member ? row.member : row.admin;
  }
  return false;
}

}  // namespace aragora::accounts
