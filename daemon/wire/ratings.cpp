#include "daemon/wire/ratings.h"

#include <cmath>

namespace aragora::wire {

namespace {
constexpr double kTrend = 1;  // points of Elo in five matches: less is none

json::value orNull(const std::string& text) { return text.empty() ? json::value(nullptr) : json::value(text); }

json::object renderSeat(const store::Standings::Seat& seat) {
  return {{"name", seat.name}, {"result", ratings::name(seat.result)}, {"votes", seat.votes}};
}
}  // namespace

json::object renderRating(const store::Standings::Entry& entry) {
  const auto& rating = entry.rating;
  const double rate = rating.matches > 0 ? static_cast<double>(rating.wins) / static_cast<double>(rating.matches) : 0;
  return {{"rank", entry.rank},
          {"name", rating.name},
          {"agent_name", rating.name},
          {"agent_id", rating.name},
          {"agent", rating.agent},
          {"provider", orNull(rating.provider)},
          {"model", orNull(rating.model)},
          {"elo", rating.elo},
          {"elo_rating", std::llround(rating.elo)},
          {"rating", entry.now.rating},
          {"rating_deviation", entry.now.deviation},
          {"volatility", entry.now.volatility},
          {"lower_bound", entry.now.lower()},
          {"upper_bound", entry.now.upper()},
          {"provisional", ratings::provisional(rating)},
          {"wins", rating.wins},
          {"losses", rating.losses},
          {"draws", rating.draws},
          {"games", rating.matches},
          {"matches", rating.matches},
          {"matches_played", rating.matches},
          {"total_debates", rating.matches},
          {"win_rate", rate},
          {"streak", std::abs(rating.streak)},
          {"streak_type", rating.streak > 0   ? "win"
                          : rating.streak < 0 ? "loss"
                                              : "none"},
          {"recent_trend", entry.recent > kTrend    ? "up"
                           : entry.recent < -kTrend ? "down"
                                                    : "stable"},
          {"last_debate", rating.last_match_at ? json::value(toIso(*rating.last_match_at)) : json::value(nullptr)}};
}

json::object renderMatch(const store::Standings::Played& match) {
  json::array participants;
  json::value winner(nullptr);
  for (const auto& seat : match.seats) {
    participants.push_back(renderSeat(seat));
    if (seat.result == ratings::Result::Won) winner = seat.name;
  }
  return {{"debate_id", match.debate_id},
          {"domain", orNull(match.domain)},
          {"timestamp", toIso(match.at)},
          {"winner", std::move(winner)},
          {"participants", std::move(participants)}};
}

json::object renderPoint(const store::Standings::Point& point, const std::string& name) {
  json::array opponents;
  std::int64_t votes = 0;
  for (const auto& seat : point.match->seats) {
    if (seat.name == name)
      votes = seat.votes;
    else
      opponents.push_back(renderSeat(seat));
  }
  return {{"debate_id", point.match->debate_id},
          {"domain", orNull(point.match->domain)},
          {"timestamp", toIso(point.match->at)},
          {"result", ratings::name(point.result)},
          {"votes", votes},
          {"elo_before", point.elo_before},
          {"elo", point.elo},
          {"elo_change", point.elo - point.elo_before},
          {"rating", point.glicko.rating},
          {"rating_deviation", point.glicko.deviation},
          {"opponents", std::move(opponents)}};
}

}  // namespace aragora::wire
