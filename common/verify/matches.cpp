#include "common/verify/matches.h"

#include <cmath>

#include "common/base/text.h"

namespace aragora::verify {

using ratings::Rating;

LookedAtMatches lookAtMatches(database::Connection& connection,
                              const std::function<const Promise*(const std::string& debate_id)>& promised) {
  constexpr std::int64_t kBatch = 2000;
  LookedAtMatches looked;
  std::string last;
  while (true) {
    const auto rows = connection.query(
        fmt::format("SELECT debate_id, {} FROM matches WHERE debate_id > $1 ORDER BY debate_id LIMIT $2",
                    kMatchColumns),
        {last, kBatch});
    for (const auto& row : rows) {
      const auto* promise = promised(row.text(0));
      if (promise == nullptr || !promise->matchHolds(row, 1)) {
        looked.wrong = row.text(0);
        return looked;
      }
      looked.seen.insert(row.text(0));
    }
    if (rows.size() < static_cast<std::size_t>(kBatch)) return looked;
    last = rows.back().text(0);
  }
}

namespace {
bool apart(double a, double b) { return !(std::abs(a - b) <= 1e-6); }

// What of it does not follow; empty when all does.
std::string differs(const Rating& stored, const Rating& counted) {
  if (store::Ratings::same(stored, counted)) return {};
  if (apart(stored.elo, counted.elo))
    return fmt::format("Elo {:.1f} is stored, the match log gives {:.1f}", stored.elo, counted.elo);
  if (apart(stored.glicko.rating, counted.glicko.rating) || apart(stored.glicko.deviation, counted.glicko.deviation) ||
      apart(stored.glicko.volatility, counted.glicko.volatility))
    return fmt::format("{:.1f} ± {:.1f} is stored, the match log gives {:.1f} ± {:.1f}", stored.glicko.rating,
                       2 * stored.glicko.deviation, counted.glicko.rating, 2 * counted.glicko.deviation);
  return fmt::format("{} ({} won, {} drawn) are stored, the match log gives {} ({} won, {} drawn)",
                     aragora::counted(stored.matches, "match"), stored.wins, stored.draws,
                     aragora::counted(counted.matches, "match"), counted.wins, counted.draws);
}
}  // namespace

std::string firstWrongRating(const std::map<std::string, Rating>& stored,
                             const std::map<std::string, Rating>& counted) {
  for (const auto& [name, rating] : stored) {
    const auto found = counted.find(name);
    const auto why = found == counted.end() ? std::string("it played no match") : differs(rating, found->second);
    if (!why.empty())
      return fmt::format("the rating of {} does not follow from the match log: {}", printable(name, 60), why);
  }
  for (const auto& [name, rating] : counted) {
    if (stored.count(name) == 0)
      return fmt::format("{} has {} in the log and no rating", printable(name, 60),
                         aragora::counted(rating.matches, "match"));
  }
  return {};
}

}  // namespace aragora::verify
