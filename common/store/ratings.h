// The ratings as they stand in the database: what the log of matches makes of those who played (common/ratings). A
// match is counted in the transaction that ends its debate; a debate that is deleted was never played. Everything here
// runs in a write transaction of the caller's or makes one; matches are counted one at a time, whoever counts.
// Thread-safe.
#pragma once

#include "common/database/database.h"
#include "common/ratings/table.h"
#include "common/store/match_log.h"

namespace aragora::store {

// How matches are counted. Ratings of another number are counted anew by the daemon (bringRatingsUpToDate).
inline constexpr std::string_view kRatingRules = "ratings.rules";
inline constexpr std::string_view kCurrentRules = "2";

// Ratings as matches in their order make them, as far as they have been counted.
struct CountedMatches {
  ratings::Table table;
  MatchLog::Place place;               // behind the last that was looked at
  std::string left_out;                // the debate whose match does not count
  std::optional<std::string> removed;  // how many debates had been removed before the first look
};

class Ratings {
 public:
  // Inside a write transaction: when the next match is recorded, which is later than all there are, whatever the clocks
  // say. Nobody else records one until the transaction ends.
  static Micros nextPlace(database::Connection& connection);
  // Inside the same transaction. Idempotent by debate: a second record of the same debate does nothing.
  static void record(database::Connection& connection, const std::string& debate_id, const ratings::Match& match,
                     Micros at);
  // The ratings without the match of that debate: a look at all matches, in batches, that keeps nobody waiting. Nothing
  // is counted where it has none.
  static CountedMatches without(database::Database& database, const std::string& debate_id);
  // Inside a write transaction of the caller's: the match of that debate, where there is one, was never played. Matches
  // that were recorded since `without` was counted are added to it. False, and nothing done, when others were forgotten
  // since: count again. nullptr counts here and now, while everybody else waits.
  static bool forgetMatch(database::Connection& connection, const std::string& debate_id,
                          CountedMatches* without = nullptr);

  // As they are stored, by name; streaks and models are not.
  static std::map<std::string, ratings::Rating> stored(database::Connection& connection);
  // As the log alone gives them.
  static ratings::Table recount(database::Connection& connection);
  // But for the last digits, which sums lose on their way through a database.
  static bool same(const ratings::Rating& one, const ratings::Rating& other);
  // Inside a write transaction under nextPlace(): these and no others are stored, by the rules of today.
  static void replace(database::Connection& connection, const ratings::Table& table);
  // What is stored becomes what the log gives. Of 100,000 matches most is counted where nobody waits.
  static void store(database::Database& database);
  static bool current(database::Connection& connection);
};

// Where the stored ones are of earlier rules, counts them anew. Whether they were.
bool bringRatingsUpToDate(database::Database& database);

}  // namespace aragora::store
