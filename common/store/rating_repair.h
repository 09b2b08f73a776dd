// Makes the log of matches what the events of debates say, and the ratings what the log says. Events are the truth
// here: whether they hold, `verify` says, with the key that this does without.
#pragma once

#include "common/store/ratings.h"

namespace aragora::store {

struct RatingRepair {
  std::int64_t matches = 0;           // that events tell of
  std::vector<std::string> changed;   // debates whose match said otherwise
  std::vector<std::string> restored;  // whose match was missing
  std::vector<std::string> removed;   // whose events tell of no match
  struct Difference {
    std::string name;
    std::optional<double> stored;  // Elo; nullopt: none
    std::optional<double> counted;
  };
  std::vector<Difference> ratings;  // that did not follow from the log, by name
  bool sound() const { return changed.empty() && restored.empty() && removed.empty() && ratings.empty(); }
};

// Looks, and changes nothing.
RatingRepair inspectRatings(database::Database& database);
// The same, and mends what was found; beside a running daemon. Its pages take the log in anew. `with` runs in the
// transaction that changes it, for the audit log.
RatingRepair repairRatings(database::Database& database,
                           const std::function<void(database::Connection&, const RatingRepair&)>& with);

}  // namespace aragora::store
