#include "common/ratings/bradley_terry.h"

#include <algorithm>
#include <cmath>

#include "common/base/interrupt.h"

namespace aragora::ratings {

namespace {
constexpr double kMean = 1000;
constexpr int kMostSteps = 10'000;
constexpr double kTolerance = 1e-10;  // of the logarithm of a strength

// splitmix64 (S. Vigna, public domain): the library's distributions differ from one library to the next.
class Draws {
 public:
  explicit Draws(std::uint64_t seed) : state_(seed) {}
  std::size_t below(std::size_t bound) {
    state_ += 0x9e3779b97f4a7c15U;
    auto z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    z ^= z >> 31U;
    return static_cast<std::size_t>((static_cast<unsigned __int128>(z) * bound) >> 64U);
  }

 private:
  std::uint64_t state_;
};

void add(Wins& wins, const std::vector<Game>& games) {
  for (const auto& game : games) {
    wins[game.one][game.other] += game.score;
    wins[game.other][game.one] += 1 - game.score;
  }
}

Wins noWins(std::size_t players) { return Wins(players, std::vector<double>(players, 0.0)); }
}  // namespace

// D. Hunter, «MM algorithms for generalized Bradley-Terry models», 2004; each step uses what the ones before it in the
// same round found.
std::vector<double> bradleyTerry(const Wins& wins, double prior) {
  const auto players = wins.size();
  std::vector<double> strength(players, 1.0);
  for (int step = 0; step < kMostSteps; ++step) {
    double moved = 0;
    for (std::size_t a = 0; a < players; ++a) {
      double won = prior / 2;
      double weighed = prior / (strength[a] + 1);
      for (std::size_t b = 0; b < players; ++b) {
        const double games = wins[a][b] + wins[b][a];
        if (b == a || games == 0) continue;
        won += wins[a][b];
        weighed += games / (strength[a] + strength[b]);
      }
      if (weighed == 0 || won == 0) continue;
      const double next = won / weighed;
      moved = std::max(moved, std::abs(std::log(next / strength[a])));
      strength[a] = next;
    }
    if (moved < kTolerance) break;
  }
  std::vector<double> result;
  double sum = 0;
  for (const double value : strength) {
    result.push_back(400 * std::log10(value));
    sum += result.back();
  }
  for (auto& value : result) value += kMean - sum / static_cast<double>(players);
  return result;
}

std::vector<Interval> bootstrapped(std::size_t players, const std::vector<std::vector<Game>>& matches, double prior,
                                   int rounds, std::uint64_t seed) {
  Draws draws(seed);
  std::vector<std::vector<double>> found(players);
  for (int round = 0; round < rounds; ++round) {
    interrupt::check();
    auto wins = noWins(players);
    for (std::size_t i = 0; i < matches.size(); ++i) add(wins, matches[draws.below(matches.size())]);
    const auto fitted = bradleyTerry(wins, prior);
    for (std::size_t player = 0; player < players; ++player) found[player].push_back(fitted[player]);
  }
  std::vector<Interval> result;
  for (auto& values : found) {
    std::sort(values.begin(), values.end());
    const auto at = [&](double share) {
      return values.at(static_cast<std::size_t>(share * static_cast<double>(values.size() - 1)));
    };
    result.push_back({at(0.025), at(0.975)});
  }
  return result;
}

}  // namespace aragora::ratings
