#include "daemon/debate/consensus.h"

#include <algorithm>

namespace aragora::debate {

std::optional<ConsensusKind> parseConsensusKind(std::string_view name) {
  if (name == "majority" || name == "any") return ConsensusKind::Majority;
  if (name == "supermajority") return ConsensusKind::Supermajority;
  if (name == "unanimous") return ConsensusKind::Unanimous;
  return std::nullopt;
}

Tally tally(const std::vector<std::string>& seats, const std::vector<Ballot>& ballots, ConsensusKind kind) {
  Tally result;
  std::map<std::string, int> confidence;
  for (const auto& seat : seats) result.votes[seat] = 0;
  for (const auto& ballot : ballots) {
    if (ballot.choice.empty() || result.votes.count(ballot.choice) == 0) continue;
    ++result.valid;
    ++result.votes[ballot.choice];
    confidence[ballot.choice] += ballot.confidence;
  }
  std::size_t most = 0;
  for (const auto& [seat, count] : result.votes) {
    if (count > most || (count == most && count > 0 && confidence[seat] > confidence[result.leader]))
      result.leader = seat;
    most = std::max(most, count);
  }
  result.tied = most > 0 && std::count_if(result.votes.begin(), result.votes.end(),
                                          [&](const auto& entry) { return entry.second == most; }) > 1;
  if (result.valid > 0) result.agreement = static_cast<double>(most) / static_cast<double>(result.valid);
  if (most > 0) result.confidence = static_cast<double>(confidence[result.leader]) / static_cast<double>(most) / 100;
  const bool quorum = result.valid >= std::max<std::size_t>(2, (seats.size() + 1) / 2);
  bool enough = false;
  switch (kind) {
    case ConsensusKind::Majority:
      enough = 2 * most > result.valid;
      break;
    case ConsensusKind::Supermajority:
      enough = 3 * most >= 2 * result.valid;
      break;
    case ConsensusKind::Unanimous:
      enough = most == seats.size();
      break;
  }
  result.reached = quorum && enough && !result.tied;
  return result;
}

}  // namespace aragora::debate
