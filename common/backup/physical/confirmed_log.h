// The promise of whoever stores the log: everything of a timeline up to here is safe in this place. Signed, one file a
// timeline (<timeline>/confirmed.json), written after what it promises. A recovery that does not get there has lost
// something, and says so. Values.
#pragma once

#include <optional>
#include <set>
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
  bool copy = false;  // by whoever copies elsewhere: no open segment is there, but signed pieces of it
};

// nullopt when there is none. Throws Error(Damaged) when it does not hold.
std::optional<ConfirmedLog> readConfirmed(const storage::Place& folder, const crypto::Keyring& keyring);
// The file's content.
std::string confirmedText(const ConfirmedLog& confirmed, const crypto::Keyring& keyring);

inline constexpr const char* kConfirmedName = "confirmed.json";

// Of which timelines anything was ever promised (<log>/timelines.json): else one whose whole folder is gone would leave
// no trace. nullopt in an archive that has no such list yet. Throws Error(Damaged).
std::optional<std::set<std::uint32_t>> readConfirmedTimelines(const storage::Place& log,
                                                              const crypto::Keyring& keyring);
std::string confirmedTimelinesText(const std::set<std::uint32_t>& timelines, const crypto::Keyring& keyring);

inline constexpr const char* kTimelinesName = "timelines.json";

}  // namespace aragora::backup
