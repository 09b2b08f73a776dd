// Glicko-2 (M. Glickman, «Example of the Glicko-2 system», 2022; public domain): a rating with how far it can be
// trusted. A debate is a rating period for who sat in it. Pure, any thread.
#pragma once

#include "common/ratings/games.h"

namespace aragora::ratings {

constexpr double kMostDeviation = 350;  // of somebody nobody knows anything of

struct Glicko {
  double rating = 1500;
  double deviation = kMostDeviation;  // RD: the rating is within two of them at 95 %
  double volatility = 0.06;

  // What it is at least and at most, at 95 %; ranks go by the first.
  double lower() const { return rating - 2 * deviation; }
  double upper() const { return rating + 2 * deviation; }
};

// τ of the paper: how quickly the volatility may change.
constexpr double kSystemConstant = 0.5;

// One value a seat. Who has no game in `games` is left as it was: that is no period for them.
std::vector<Glicko> glickoAfter(const std::vector<Glicko>& before, const std::vector<Game>& games,
                                double system_constant = kSystemConstant);
// After that many periods without a game: less is known.
Glicko idled(Glicko before, double periods);

}  // namespace aragora::ratings
