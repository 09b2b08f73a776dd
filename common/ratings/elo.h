// Elo for a game of several (A. Elo, The Rating of Chessplayers, 1978; logistic curve, base 10, 400 points): each pair
// is a game with K / (seats - 1), so that a debate of many moves a rating no further than one of two, and the sum of
// all changes is zero. Pure, any thread.
#pragma once

#include "common/ratings/games.h"

namespace aragora::ratings {

constexpr double kFirstElo = 1500;
constexpr double kEloK = 32;

// The score that `rating` is expected to have against `opponent`, 0 to 1.
double expectedScore(double rating, double opponent);
// One value a seat, as `before`; `games` names seats by their index.
std::vector<double> eloAfter(const std::vector<double>& before, const std::vector<Game>& games, double k = kEloK);

}  // namespace aragora::ratings
