// Whether there is suddenly less than there was: an emptied source makes a backup that verifies. The rows of debates,
// their events and accounts are held against the most that one of the last good backups before had; a tenth less, and
// ten rows or more, is said, and so is nothing at all where there was something. Pure.
#pragma once

#include <map>

#include "common/backup/repository.h"

namespace aragora::backup {

struct Shrinkage {
  std::string table;
  std::int64_t before = 0;
  std::int64_t now = 0;
  std::string backup;  // that had as many

  bool vanished() const { return now == 0; }
  bool ofTheHistory() const { return table != "users"; }
};

using Counts = std::map<std::string, std::int64_t>;  // by table, without its schema

Counts countsOf(const Manifest& manifest);
// Of the newest good one of `entries` (one kind, in their order) against those before it.
std::vector<Shrinkage> shrinkage(const std::vector<Entry>& entries);
// Of what was counted in a database against the last of `before`.
std::vector<Shrinkage> shrinkage(const std::vector<Entry>& before, const Counts& counted);
// "debates: 0 rows, 1234 in backup …"
std::string describe(const Shrinkage& shrunk);

}  // namespace aragora::backup
