// Orders that follow from a debate's seed alone, on every machine and with every library: SplitMix64 (Steele, Lea and
// Flood, OOPSLA 2014) and Fisher and Yates' shuffle without bias. Not for secrets.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace aragora::debate {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  // One stream a purpose: the same seed gives voters orders that say nothing of each other.
  Random(std::int64_t seed, std::string_view purpose);

  std::uint64_t next();
  // From 0 to below `bound`, each as often as the others.
  std::uint64_t below(std::uint64_t bound);

  template <typename Value>
  void shuffle(std::vector<Value>& values) {
    for (auto left = values.size(); left > 1; --left) std::swap(values[left - 1], values[below(left)]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace aragora::debate
