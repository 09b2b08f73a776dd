#include "common/ratings/elo.h"

#include <cmath>

#include "common/base/error.h"

namespace aragora::ratings {

std::vector<Game> gamesOf(const std::vector<double>& points) {
  std::vector<Game> games;
  for (std::size_t one = 0; one < points.size(); ++one) {
    for (std::size_t other = one + 1; other < points.size(); ++other)
      games.push_back({one, other, points[one] > points[other] ? 1 : points[one] < points[other] ? 0 : 0.5});
  }
  return games;
}

double expectedScore(double rating, double opponent) { return 1 / (1 + std::pow(10, (opponent - rating) / 400)); }

std::vector<double> eloAfter(const std::vector<double>& before, const std::vector<Game>& games, double k) {
  ARAGORA_CHECK(before.size() >= 2);
  auto after = before;
  const double per_game = k / static_cast<double>(before.size() - 1);
  for (const auto& game : games) {
    const double change = per_game * (game.score - expectedScore(before.at(game.one), before.at(game.other)));
    after[game.one] += change;
    after[game.other] -= change;
  }
  return after;
}

}  // namespace aragora::ratings
