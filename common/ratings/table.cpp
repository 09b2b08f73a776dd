#include "common/ratings/table.h"

#include <algorithm>

#include "common/base/names.h"

namespace aragora::ratings {

namespace {
constexpr Names<Result, 3> kResults{{{Result::Lost, "loss"}, {Result::Drew, "draw"}, {Result::Won, "win"}}};

// Sums of floating point depend on their order; this one depends on the match alone.
Match inOneOrder(Match match) {
  std::sort(match.seats.begin(), match.seats.end(), [](const Seat& a, const Seat& b) {
    return std::tuple(identityOf(a), a.votes, a.seat) < std::tuple(identityOf(b), b.votes, b.seat);
  });
  return match;
}

// Seats are in order: those of one identity stand together.
std::vector<Change> resultsOf(const Match& match, const std::map<std::string, Rating>& ratings) {
  std::vector<Change> changes;
  for (const auto& seat : match.seats) {
    const auto name = identityOf(seat);
    if (changes.empty() || changes.back().name != name)
      changes.push_back({name, Result::Drew, seat.votes, pointsOf(seat), ratings.at(name).elo});
    changes.back().votes = std::max(changes.back().votes, seat.votes);
    changes.back().points = std::max(changes.back().points, pointsOf(seat));
  }
  double most = 0;
  for (const auto& change : changes) most = std::max(most, change.points);
  const auto leaders =
      std::count_if(changes.begin(), changes.end(), [&](const Change& change) { return change.points == most; });
  for (auto& change : changes)
    change.result = change.points < most ? Result::Lost : leaders == 1 ? Result::Won : Result::Drew;
  return changes;
}

void note(Rating& rating, Result result, Micros at) {
  ++rating.matches;
  rating.last_match_at = at;
  if (result == Result::Won) {
    ++rating.wins;
    rating.streak = std::max<std::int64_t>(rating.streak, 0) + 1;
  } else if (result == Result::Lost) {
    ++rating.losses;
    rating.streak = std::min<std::int64_t>(rating.streak, 0) - 1;
  } else {
    ++rating.draws;
    rating.streak = 0;
  }
}
}  // namespace

std::string_view name(Result result) { return nameIn(kResults, result); }

Glicko glickoAt(const Rating& rating, Micros now) {
  if (!rating.last_match_at || now <= *rating.last_match_at) return rating.glicko;
  return idled(rating.glicko, static_cast<double>((now - *rating.last_match_at) / kIdlePeriod));
}

std::vector<Change> Table::count(const Match& played, Micros at) {
  const auto match = inOneOrder(played);
  std::vector<double> elo;
  std::vector<Glicko> glicko;
  for (const auto& seat : match.seats) {
    auto& rating = ratings_[identityOf(seat)];
    rating.name = identityOf(seat);
    rating.agent = seat.agent;
    rating.provider = seat.provider;
    rating.model = seat.model;
    elo.push_back(rating.elo);
    glicko.push_back(glickoAt(rating, at));
  }
  const auto games = gamesOf(match);
  const auto elo_after = eloAfter(elo, games);
  const auto changes = resultsOf(match, ratings_);
  // Several seats of one are one player: its games are one period, and its Elo moves by all of them.
  std::vector<Glicko> players;
  std::vector<std::size_t> player_of;
  for (std::size_t seat = 0; seat < match.seats.size(); ++seat) {
    const bool same = seat > 0 && identityOf(match.seats[seat]) == identityOf(match.seats[seat - 1]);
    if (!same) players.push_back(glicko[seat]);
    player_of.push_back(players.size() - 1);
  }
  auto between = games;
  for (auto& game : between) {
    game.one = player_of[game.one];
    game.other = player_of[game.other];
  }
  const auto glicko_after = glickoAfter(players, between);
  for (std::size_t seat = 0; seat < match.seats.size(); ++seat) {
    auto& rating = ratings_.at(identityOf(match.seats[seat]));
    rating.elo += elo_after[seat] - elo[seat];
    rating.glicko = glicko_after[player_of[seat]];
  }
  for (const auto& change : changes) note(ratings_.at(change.name), change.result, at);
  return changes;
}

std::vector<Ranked> ranked(const std::map<std::string, Rating>& ratings, Micros now) {
  std::vector<Ranked> list;
  list.reserve(ratings.size());
  for (const auto& [name, rating] : ratings) list.push_back({&rating, glickoAt(rating, now), 0});
  std::stable_sort(list.begin(), list.end(),
                   [](const Ranked& a, const Ranked& b) { return a.now.lower() > b.now.lower(); });
  std::size_t head = 0;
  for (std::size_t at = 0; at < list.size(); ++at) {
    if (list[at].now.upper() < list[head].now.lower()) head = at;
    list[at].rank = static_cast<std::int64_t>(head) + 1;
  }
  return list;
}

}  // namespace aragora::ratings
