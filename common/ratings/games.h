// What one debate says of who is better: games between seats, all of them looked at from the ratings that were in force
// before it (one debate is one rating period). Pure, any thread.
#pragma once

#include <cstddef>
#include <vector>

namespace aragora::ratings {

struct Game {
  std::size_t one = 0;    // index of a seat
  std::size_t other = 0;  // of another
  double score = 0.5;     // of `one`: 1 won, 0.5 drew, 0 lost
};

// Every pair of seats: who has more points beats who has fewer, and the same is a draw.
std::vector<Game> gamesOf(const std::vector<double>& points);

}  // namespace aragora::ratings
