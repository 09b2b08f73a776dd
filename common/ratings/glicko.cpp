#include "common/ratings/glicko.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace aragora::ratings {

namespace {
constexpr double kScale = 173.7178;  // 400 / ln 10, as the paper has it
constexpr double kTolerance = 0.000001;
constexpr int kMostSteps = 100;  // of a search that ends after about ten

double square(double value) { return value * value; }

// Step 3: g(φ) and E(μ, μj, φj). E stays away from what cannot happen, which would make the variance infinite.
double weight(double deviation) { return 1 / std::sqrt(1 + 3 * square(deviation) / square(std::numbers::pi)); }
double expected(double rating, double opponent, double opponent_weight) {
  const double value = 1 / (1 + std::exp(-opponent_weight * (rating - opponent)));
  return std::clamp(value, 1e-9, 1 - 1e-9);
}

// Step 5: the new volatility, with the Illinois variant of regula falsi.
double volatilityAfter(double volatility, double deviation, double delta, double variance, double constant) {
  const double start = std::log(square(volatility));
  const auto f = [&](double x) {
    const double e = std::exp(x);
    const double sum = square(deviation) + variance + e;
    return e * (square(delta) - sum) / (2 * square(sum)) - (x - start) / square(constant);
  };
  double a = start;
  double b = 0;
  if (square(delta) > square(deviation) + variance) {
    b = std::log(square(delta) - square(deviation) - variance);
  } else {
    int k = 1;
    while (k < kMostSteps && f(start - k * constant) < 0) ++k;
    b = start - k * constant;
  }
  double at_a = f(a);
  double at_b = f(b);
  for (int step = 0; step < kMostSteps && std::abs(b - a) > kTolerance && at_a != at_b; ++step) {
    const double c = a + (a - b) * at_a / (at_b - at_a);
    const double at_c = f(c);
    if (at_c * at_b <= 0) {
      a = b;
      at_a = at_b;
    } else {
      at_a /= 2;
    }
    b = c;
    at_b = at_c;
  }
  return std::exp(a / 2);
}

struct Sums {
  double information = 0;  // 1 / v
  double surprise = 0;     // Σ g (s - E)
  bool played = false;
};

Glicko after(const Glicko& before, const Sums& sums, double constant) {
  const double deviation = before.deviation / kScale;
  const double variance = 1 / sums.information;
  const double volatility = volatilityAfter(before.volatility, deviation, variance * sums.surprise, variance, constant);
  const double idle = std::sqrt(square(deviation) + square(volatility));
  const double next = 1 / std::sqrt(1 / square(idle) + 1 / variance);
  return {before.rating + kScale * square(next) * sums.surprise, std::min(kScale * next, kMostDeviation), volatility};
}
}  // namespace

std::vector<Glicko> glickoAfter(const std::vector<Glicko>& before, const std::vector<Game>& games, double constant) {
  std::vector<Sums> sums(before.size());
  const auto add = [&](std::size_t seat, std::size_t opponent, double score) {
    const double g = weight(before.at(opponent).deviation / kScale);
    const double e = expected(before.at(seat).rating / kScale, before.at(opponent).rating / kScale, g);
    sums[seat].information += square(g) * e * (1 - e);
    sums[seat].surprise += g * (score - e);
    sums[seat].played = true;
  };
  for (const auto& game : games) {
    add(game.one, game.other, game.score);
    add(game.other, game.one, 1 - game.score);
  }
  auto result = before;
  for (std::size_t seat = 0; seat < before.size(); ++seat) {
    if (sums[seat].played) result[seat] = after(before[seat], sums[seat], constant);
  }
  return result;
}

Glicko idled(Glicko before, double periods) {
  const double deviation = before.deviation / kScale;
  const double idle = std::sqrt(square(deviation) + std::max(periods, 0.0) * square(before.volatility));
  before.deviation = std::min(kScale * idle, kMostDeviation);
  return before;
}

}  // namespace aragora::ratings
