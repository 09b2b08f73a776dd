// What happens to a daemon and is worth being found again: lines of the log that have a MESSAGE_ID in the journal
// (systemd.journal-fields(7)) and an "event" in JSON. aragora-serve(8) has the same table; a test compares them.
#pragma once

#include <string_view>

namespace aragora::log {

enum class Event {
  None,
  Access,
  Started,
  Stopping,
  Stopped,
  Reloaded,
  ReloadRefused,
  DebateEnded,
  DatabaseState,
  RedisState,
  MemoryState,
  BackupFailed,
  AuditLogBroken,
  BudgetThreshold,
};
// Empty for None.
std::string_view name(Event event);
std::string_view messageId(Event event);

}  // namespace aragora::log
