// Tallies as exact integer rules. R seats took part at the start, B ballots are valid, c of them are for the leader.
// quorum: B >= max(2, ceil(R/2)); majority: 2c > B; supermajority: 3c >= 2B; unanimous: c = R (a seat that failed
// blocks it). A tie for the lead is never consensus.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace aragora::debate {

enum class ConsensusKind { Majority, Supermajority, Unanimous };
std::optional<ConsensusKind> parseConsensusKind(std::string_view name);

struct Ballot {
  std::string voter;
  std::string choice;  // a seat; empty: abstained or invalid
  int confidence = 0;  // 0..100
};

struct Tally {
  bool reached = false;
  std::string
      leader;  // seat with most votes, ties broken by confidence, then name; shown, never called consensus on a tie
  bool tied = false;
  std::size_t valid = 0;
  std::map<std::string, std::size_t> votes;  // by seat
  double agreement = 0;                      // c / B
  double confidence = 0;                     // mean of the leader's ballots, 0..1
};

Tally tally(const std::vector<std::string>& seats, const std::vector<Ballot>& ballots, ConsensusKind kind);

}  // namespace aragora::debate
