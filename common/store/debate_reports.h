// What is asked about all debates at once: a search, counts, where agents disagreed. Each is a look at the whole table
// (a search stops at nothing less): for a worker thread. Thread-safe.
#pragma once

#include "common/database/database.h"
#include "common/store/debates.h"

namespace aragora::store {

struct Found {
  std::vector<Debate> debates;  // newest first
  std::int64_t total = 0;
};
// Debates with the words, as they stand, in the task or in the answer; letters are the same in both cases (SQLite:
// those of ASCII).
Found searchDebates(database::Database& database, std::string_view words, std::int64_t limit, std::int64_t offset);

struct DebateCounts {
  std::map<DebateStatus, std::int64_t> by_status;
  std::int64_t decided = 0;            // that ended as completed
  std::int64_t consensus_reached = 0;  // of those
  double mean_confidence = 0;          // of those that reached it
  double mean_rounds = 0;              // of the decided
  double mean_seconds = 0;             // of the decided
};
// Of those that have not ended, by an index: costs what there are of them.
std::map<DebateStatus, std::int64_t> countOpenDebates(database::Database& database);
DebateCounts countDebates(database::Database& database);

// Those that were decided against votes, or could not be; newest first.
std::vector<Debate> disagreements(database::Database& database, std::int64_t limit);

}  // namespace aragora::store
