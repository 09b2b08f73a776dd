// Names of files in the archive of the log. Private to it.
#pragma once

#include "common/backup/physical/wal_archive.h"
#include "common/base/error.h"

namespace aragora::backup {

inline constexpr std::string_view kSealed = ".zst.age";
inline constexpr std::string_view kPartial = ".partial";
inline constexpr std::string_view kRecord = ".json";

inline std::string sealedName(const std::string& name) { return name + std::string(kSealed); }

// <segment>.<from>-<to>
inline std::string pieceName(const std::string& segment, const WalArchive::Span& span) {
  return fmt::format("{}.{:08x}-{:08x}", segment, span.from, span.to);
}

[[noreturn]] inline void recordIsMissing(const storage::Place& folder, const std::string& name) {
  throw Error(Code::Damaged, fmt::format("{}: is missing", (folder / (name + std::string(kRecord))).describe()),
              "recover to a moment before it, or from another copy");
}

}  // namespace aragora::backup
