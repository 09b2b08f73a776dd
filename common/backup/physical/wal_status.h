// What the receiver of the log knows, in DIR/status.json; for the copy elsewhere the same of what has arrived there.
// Not signed: it decides nothing but messages and which targets are refused as too late. Values.
#pragma once

#include "common/backup/manifest.h"
#include "common/base/json.h"

namespace aragora::backup {

// What the receiver knew when it last wrote it down.
struct WalStatus {
  std::uint32_t timeline = 0;
  Lsn flushed = 0;             // on disk here
  Micros durable_through = 0;  // every commit up to this time of the server's clock is in the archive
  Micros updated_at = 0;
  std::string slot;
  std::string slot_state;           // reserved, extended, unreserved, lost
  std::int64_t retained_bytes = 0;  // kept by the server for us
  std::string problem;              // why nothing is being received, empty when it is
};

json::object describe(const WalStatus& status);
std::optional<WalStatus> parseWalStatus(const std::string& text);

}  // namespace aragora::backup
