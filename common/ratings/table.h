// Ratings as matches in their order make them: the one place where a match is counted, for the live update, the pages,
// `verify` and `ratings recompute` alike, so that the same log gives the same numbers to the last bit. One owner.
#pragma once

#include <map>

#include "common/base/clock.h"
#include "common/ratings/elo.h"
#include "common/ratings/glicko.h"
#include "common/ratings/match.h"

namespace aragora::ratings {

struct Rating {
  std::string name;     // identityOf()
  std::string agent{};  // under which it was asked for last
  std::string provider{};
  std::string model{};
  double elo = kFirstElo;
  Glicko glicko;
  std::int64_t wins = 0;  // debates in which its best seat alone had most votes
  std::int64_t losses = 0;
  std::int64_t draws = 0;
  std::int64_t matches = 0;
  std::int64_t streak = 0;  // won in a row; below 0: lost in a row
  std::optional<Micros> last_match_at{};
};

// Fewer matches than that say little: such a rating is provisional.
constexpr std::int64_t kEstablished = 10;
inline bool provisional(const Rating& rating) { return rating.matches < kEstablished; }

// Time without a match makes a rating less certain: a rating period of Glicko-2 for every 30 days.
constexpr Micros kIdlePeriod = Micros{30} * 86'400 * 1'000'000;
Glicko glickoAt(const Rating& rating, Micros now);

enum class Result { Lost, Drew, Won };
// "win", "draw", "loss".
std::string_view name(Result result);

// What a match did to one of those who sat there.
struct Change {
  std::string name;
  Result result = Result::Drew;
  std::int64_t votes = 0;  // of its best seat
  double points = 0;       // likewise
  double elo_before = 0;
};

class Table {
 public:
  // In the order of the log. Who sat where makes no difference.
  std::vector<Change> count(const Match& match, Micros at);
  const std::map<std::string, Rating>& ratings() const { return ratings_; }
  // As it is stored; before anything that names it is counted.
  void put(Rating rating) { ratings_[rating.name] = std::move(rating); }

 private:
  std::map<std::string, Rating> ratings_;
};

// The best first: by what a rating is at least at 95 %, then by name. Who may be as good as the first of a group, at
// 95 %, shares its rank.
struct Ranked {
  const Rating* rating = nullptr;
  Glicko now;
  std::int64_t rank = 0;
};
std::vector<Ranked> ranked(const std::map<std::string, Rating>& ratings, Micros now);

}  // namespace aragora::ratings
