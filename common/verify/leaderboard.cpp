#include "common/verify/leaderboard.h"

#include <set>

#include "common/base/text.h"
#include "common/store/ratings.h"

namespace aragora::verify {

namespace {
constexpr const char* kHeal = "aragora ratings recompute makes it what the events say";

// What of a stored rating does not follow, for people; empty when it does.
std::string differs(const ratings::Rating& stored, const ratings::Rating& counted) {
  const auto apart = [](double a, double b) { return !(std::abs(a - b) <= 1e-6); };
  if (apart(stored.elo, counted.elo))
    return fmt::format("Elo {:.1f} is stored, the match log gives {:.1f}", stored.elo, counted.elo);
  if (apart(stored.glicko.rating, counted.glicko.rating) || apart(stored.glicko.deviation, counted.glicko.deviation) ||
      apart(stored.glicko.volatility, counted.glicko.volatility))
    return fmt::format("{:.1f} ± {:.1f} is stored, the match log gives {:.1f} ± {:.1f}", stored.glicko.rating,
                       2 * stored.glicko.deviation, counted.glicko.rating, 2 * counted.glicko.deviation);
  if (!store::Ratings::same(stored, counted))
    return fmt::format("{} ({} won, {} drawn) are stored, the match log gives {} ({} won, {} drawn)",
                       aragora::counted(stored.matches, "match"), stored.wins, stored.draws,
                       aragora::counted(counted.matches, "match"), counted.wins, counted.draws);
  return {};
}

std::string firstDifference(const std::map<std::string, ratings::Rating>& stored,
                            const std::map<std::string, ratings::Rating>& expected) {
  for (const auto& [name, rating] : stored) {
    const auto found = expected.find(name);
    const auto why = found == expected.end() ? std::string("it played no match") : differs(rating, found->second);
    if (!why.empty())
      return fmt::format("the rating of {} does not follow from the match log: {}", printable(name, 60), why);
  }
  for (const auto& [name, rating] : expected) {
    if (stored.count(name) == 0)
      return fmt::format("{} has {} in the log and no rating", printable(name, 60),
                         aragora::counted(rating.matches, "match"));
  }
  return {};
}
}  // namespace

Result matchesHold(database::Connection& connection, const Heads& heads) {
  constexpr std::int64_t kBatch = 2000;
  std::set<std::string> seen;
  std::string last;
  while (true) {
    const auto rows = connection.query(
        fmt::format("SELECT debate_id, {} FROM matches WHERE debate_id > $1 ORDER BY debate_id LIMIT $2",
                    kMatchColumns),
        {last, kBatch});
    for (const auto& row : rows) {
      const auto found = heads.find(row.text(0));
      if (found == heads.end() || !found->second.promise.matchHolds(row, 1))
        return bad(fmt::format("the match of debate {} is not what its events say", printable(row.text(0), 60)), kHeal);
      seen.insert(row.text(0));
    }
    if (rows.size() < static_cast<std::size_t>(kBatch)) break;
    last = rows.back().text(0);
  }
  for (const auto& [debate_id, walked] : heads) {
    if (walked.promise.matched() && seen.count(debate_id) == 0)
      return bad(fmt::format("the match of debate {} is missing", debate_id), kHeal);
  }
  return {true, fmt::format("{} {} what the events of {} say", counted(seen.size(), "match"),
                            agreeing(seen.size(), "is", "are"), agreeing(seen.size(), "its debate", "their debates"))};
}

Result ratingsFollow(database::Connection& connection) {
  const auto stored = store::Ratings::stored(connection);
  const auto wrong = firstDifference(stored, store::Ratings::recount(connection).ratings());
  if (wrong.empty())
    return {true, fmt::format("{} {} from the match log", counted(stored.size(), "rating"),
                              agreeing(stored.size(), "follows", "follow"))};
  if (!store::Ratings::current(connection))
    return {true, fmt::format("{} by earlier rules, counted anew by the next start of the daemon",
                              counted(stored.size(), "rating"))};
  return bad(wrong, "aragora ratings recompute counts them anew");
}

}  // namespace aragora::verify
