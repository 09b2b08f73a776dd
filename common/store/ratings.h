// The leaderboard: an immutable match log and the ratings that follow from it. A debate that reached consensus is one
// match; every pair with the winner is a game, all seen from the ratings before the match, K = 32 / (seats - 1), so the
// sum of changes is zero (multi-seat Elo). Thread-safe.
#pragma once

#include <map>

#include "common/base/clock.h"
#include "common/database/database.h"

namespace aragora::store {

struct Rating {
  std::string agent;
  double elo = 1500;
  std::int64_t wins = 0;
  std::int64_t losses = 0;
  std::int64_t draws = 0;
  std::int64_t matches = 0;
  std::optional<Micros> last_match_at;
};

// New Elo values; `scores[i]` is higher for better, equal for a draw. Sizes are equal and at least 2.
std::vector<double> eloAfter(const std::vector<double>& before, const std::vector<double>& scores, double k = 32);

// Ratings as matches in their order make them, as far as they have been counted.
struct CountedMatches {
  std::map<std::string, Rating> ratings;
  Micros last_at = INT64_MIN;  // of the last that was looked at
  std::string last_id;
  std::string left_out;                // the debate whose match does not count
  std::optional<std::string> removed;  // how many debates had been removed before the first look
};

class Ratings {
 public:
  explicit Ratings(database::Database& database) : database_(database) {}

  // Idempotent by debate: a second record of the same debate does nothing.
  void recordMatch(const std::string& debate_id, const std::vector<std::string>& agents,
                   const std::vector<double>& scores);
  // The ratings without the match of that debate: a look at all matches, in batches, that keeps nobody waiting.
  CountedMatches without(const std::string& debate_id);
  // Inside a write transaction of the caller's: the match of that debate, where there is one, was never played. Matches
  // that were recorded since `without` was counted are added to it. False, and nothing done, when others were forgotten
  // since: count again. nullptr counts here and now, while everybody else waits.
  static bool forgetMatch(database::Connection& connection, const std::string& debate_id,
                          CountedMatches* without = nullptr);
  std::vector<Rating> leaderboard(std::int64_t limit, std::int64_t offset);
  std::int64_t count();
  // Ratings as the match log alone gives them, for verification.
  std::map<std::string, Rating> recompute();

 private:
  database::Database& database_;
};

}  // namespace aragora::store
