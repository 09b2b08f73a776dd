#include "daemon/lifecycle/probe.h"

#include "common/base/names.h"

namespace aragora::lifecycle {

namespace {
constexpr Names<DatabaseState, 5> kDatabaseStates{{{DatabaseState::Unknown, "unknown"},
                                                   {DatabaseState::Connected, "connected"},
                                                   {DatabaseState::ReadOnly, "read_only"},
                                                   {DatabaseState::Full, "full"},
                                                   {DatabaseState::Unreachable, "unreachable"}}};
constexpr Names<RedisState, 3> kRedisStates{{{RedisState::NotConfigured, "not_configured"},
                                             {RedisState::Connected, "connected"},
                                             {RedisState::Unreachable, "unreachable"}}};
}  // namespace

std::string_view name(DatabaseState state) { return nameIn(kDatabaseStates, state); }
std::string_view name(RedisState state) { return nameIn(kRedisStates, state); }

}  // namespace aragora::lifecycle
