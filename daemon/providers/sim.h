// Agents that are not there: seeded, without a network, as good and as reliable as their names say. For tests of whole
// debates, and for operators who want to see what many agents do to an instance before it costs money.
//
//   sim:p=0.7,seed=3     answers right with that probability, independently of the others
//       c=0.5            takes over another proposal in a revision, without a reason
//       fail=0.1         does not answer
//       latency=200      milliseconds that an answer takes
//       tokens=400       that an answer has
//       confidence=90    in its ballots and proposals
//
// Chance follows from its seed, the debate's and the seat: the same debate again is the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aragora::providers {

struct Simulated {
  // In millionths.
  std::int64_t right = 700'000;
  std::int64_t conformity = 0;
  std::int64_t failure = 0;
  std::int64_t seed = 0;
  std::int64_t latency_ms = 0;
  std::int64_t tokens = 0;  // 0: as long as the text is
  std::int64_t confidence = 70;
};

// What stands behind «sim:», parted by commas or semicolons; nullopt with the reason in `why`.
std::optional<Simulated> parseSimulated(std::string_view text, std::string& why);

}  // namespace aragora::providers
