// What the receiver of the log knows, in DIR/status.json; for the copy elsewhere the same of what has arrived there.
// Not signed: it decides nothing but messages and which targets are refused as too late. Values.
#pragma once

#include "common/backup/manifest.h"
#include "common/base/json.h"

namespace aragora::backup {

// Of a replication slot, in PostgreSQL's words (pg_replication_slots.wal_status). Unknown: there is none, or a later
// version has another word.
enum class SlotState { Unknown, Reserved, Extended, Unreserved, Lost };
std::string name(SlotState state);
SlotState parseSlotState(std::string_view name);
// Log that the receiver needs is about to go, or gone.
bool losesLog(SlotState state);

// What the receiver knew when it last wrote it down.
struct WalStatus {
  std::uint32_t timeline = 0;
  Lsn flushed = 0;             // on disk here
  Micros durable_through = 0;  // every commit up to this time of the server's clock is in the archive
  Micros updated_at = 0;
  std::string slot;
  SlotState slot_state = SlotState::Unknown;
  std::int64_t retained_bytes = 0;  // kept by the server for us
  std::string problem;              // why nothing is being received, empty when it is
};

json::object describe(const WalStatus& status);
std::optional<WalStatus> parseWalStatus(const std::string& text);

}  // namespace aragora::backup
