// Bradley-Terry (R. Bradley, M. Terry, 1952): strengths by which all games together are likeliest, whatever their
// order. It looks at the log in a way that has nothing in common with how ratings are kept, and so is a check of them.
// A draw is half a win of each. Pure, any thread; a question of the size of players², some thousand of them at most.
#pragma once

#include <cstdint>

#include "common/ratings/games.h"

namespace aragora::ratings {

// games[a][b]: how much a won against b. Square.
using Wins = std::vector<std::vector<double>>;

// On the scale of Elo, mean 1000. `prior` is draws that each player is taken to have had against one average player:
// what keeps those apart finite who never met, or never lost. Zero asks for the likeliest alone, which must exist then.
std::vector<double> bradleyTerry(const Wins& wins, double prior);

struct Interval {
  double lower = 0;
  double upper = 0;
};
// 95 % of what fits to as many games, drawn again from `matches` as often as there are (the bootstrap: B. Efron, 1979),
// give. `matches` are the games of a debate each, which stay together. The same seed gives the same.
std::vector<Interval> bootstrapped(std::size_t players, const std::vector<std::vector<Game>>& matches, double prior,
                                   int rounds, std::uint64_t seed);

}  // namespace aragora::ratings
