// What the prober saw of the backends, each state with its one table of names. A value.
#pragma once

#include <string>

#include "common/config/agents.h"

namespace aragora::lifecycle {

enum class DatabaseState { Unknown, Connected, ReadOnly, Full, Unreachable };
enum class RedisState { NotConfigured, Connected, Unreachable };
std::string_view name(DatabaseState state);
std::string_view name(RedisState state);

struct Probe {
  DatabaseState database = DatabaseState::Unknown;
  std::string read_only{};  // why, when it takes no writes
  std::string away{};       // why, when it cannot be reached: "it does not answer"
  RedisState redis = RedisState::NotConfigured;
  config::AgentsState agents = config::AgentsState::None;
  bool redis_required = false;
  double database_ms = 0;
  // Whether to send it work: without Redis it goes on, more slowly.
  bool usable() const { return database == DatabaseState::Connected && agents != config::AgentsState::None; }
  bool healthy() const { return usable() && (!redis_required || redis == RedisState::Connected); }
};

}  // namespace aragora::lifecycle
