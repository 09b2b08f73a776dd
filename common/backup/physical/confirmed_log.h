// The promise of whoever stores the log: everything of a timeline up to here is safe in this place. Signed, one file a
// timeline (<timeline>/confirmed.json), written after what it promises. A recovery that does not get there has lost
// something, and says so. Values.
#pragma once

#include <optional>
#include <string>

#include "common/backup/manifest.h"
#include "common/storage/place.h"

namespace aragora::backup {

struct ConfirmedLog {
  std::uint32_t timeline = 0;
  Lsn flushed = 0;
  Micros durable_through = 0;  // every commit up to this time of the server's clock; 0: not known
  Micros at = 0;
  // Of the segment that was open, from its beginning up to `flushed`; empty when none was, or its pieces are sealed.
  std::string open_sha256;
};

// nullopt when there is none. Throws Error(Damaged) when it does not hold.
std::optional<ConfirmedLog> readConfirmed(const storage::Place& folder, const crypto::Keyring& keyring);
// The file's content.
std::string confirmedText(const ConfirmedLog& confirmed, const crypto::Keyring& keyring);

inline constexpr const char* kConfirmedName = "confirmed.json";

}  // namespace aragora::backup
