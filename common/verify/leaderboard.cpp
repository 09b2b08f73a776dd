#include "common/verify/leaderboard.h"

#include "common/base/text.h"
#include "common/verify/matches.h"

namespace aragora::verify {

Result matchesHold(database::Connection& connection, const Heads& heads) {
  constexpr const char* kHeal = "aragora ratings recompute makes it what the events say";
  const auto looked = lookAtMatches(connection, [&](const std::string& debate_id) {
    const auto found = heads.find(debate_id);
    return found == heads.end() ? nullptr : &found->second.promise;
  });
  if (!looked.wrong.empty())
    return bad(fmt::format("the match of debate {} is not what its events say", printable(looked.wrong, 60)), kHeal);
  for (const auto& [debate_id, walked] : heads) {
    if (walked.promise.matched() && looked.seen.count(debate_id) == 0)
      return bad(fmt::format("the match of debate {} is missing", debate_id), kHeal);
  }
  const auto count = looked.seen.size();
  return {true, fmt::format("{} {} what the events of {} say", counted(count, "match"), agreeing(count, "is", "are"),
                            agreeing(count, "its debate", "their debates"))};
}

Result ratingsFollow(database::Connection& connection) {
  const auto stored = store::Ratings::stored(connection);
  const auto wrong = firstWrongRating(stored, store::Ratings::recount(connection).ratings());
  if (wrong.empty())
    return {true, fmt::format("{} {} from the match log", counted(stored.size(), "rating"),
                              agreeing(stored.size(), "follows", "follow"))};
  const bool old = !connection.query("SELECT 1 FROM matches WHERE record IS NULL LIMIT 1", {}).empty();
  if (old && !store::Ratings::current(connection))
    return {true, fmt::format("{} by earlier rules, counted anew by the next start of the daemon",
                              counted(stored.size(), "rating"))};
  return bad(wrong, "aragora ratings recompute counts them anew");
}

}  // namespace aragora::verify
