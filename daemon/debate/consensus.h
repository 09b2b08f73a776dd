// Tallies as exact integer rules. R seats took part at the start, B ballots are valid (for something that may be
// chosen, no abstention), c of them are for the leader.
//   quorum         B >= max(2, ceil(q*R)), q is 1/2 unless asked otherwise
//   any            c > 0
//   majority       2c > B
//   supermajority  c/B >= 2/3 unless asked otherwise
//   unanimous      all R seats, so that one that failed blocks it; with allow_absent all ballots
//   weighted       as majority, with the voter's weight times the bucket of its confidence for each ballot
//   judge          as majority, where the judge decides nothing
// A tie for the lead is never consensus. With three seats and more nobody chooses what it alone proposed; then neither
// is its ballot asked for by a rule that wants all. What several gave independently is one candidate. Pure, any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace aragora::debate {

enum class ConsensusKind { Majority, Supermajority, Unanimous, Weighted, Judge, Any };
std::string_view name(ConsensusKind kind);
// Also other names that clients use: «semantic» is majority (candidates that say the same are one), «hybrid» judge,
// «none» any.
std::optional<ConsensusKind> parseConsensusKind(std::string_view name);
// "majority, supermajority, …".
std::string consensusKinds();

// A share of 1, exactly: numerator <= denominator, both positive.
struct Share {
  std::int64_t numerator = 1;
  std::int64_t denominator = 2;
  bool operator==(const Share&) const = default;
};
// "2/3", "0.5", "1"; nullopt for anything that is no share of 1.
std::optional<Share> parseShare(std::string_view text);
std::string toText(const Share& share);

struct Rule {
  ConsensusKind kind = ConsensusKind::Majority;
  Share quorum{1, 2};
  Share share{2, 3};  // of a supermajority
  bool allow_absent = false;
};

// How many ballots it takes.
std::size_t quorumOf(const Rule& rule, std::size_t seats);

struct Candidate {
  std::string id;
  std::set<std::string> authors;  // seats
  std::size_t earlier_votes = 0;  // in the blind vote, where that was another; breaks ties of the lead
  std::string text_hash{};        // likewise, at last
};

struct Ballot {
  std::string voter;
  std::string choice;  // a candidate's id; empty: abstained or invalid
  int confidence = 0;  // 0..100
};

// How often a confidence counts, in tenths: models say more than they know, so that what they say is no factor itself.
std::int64_t bucketOf(int confidence);
inline constexpr std::int64_t kHighestBucket = 10;
inline constexpr std::int64_t kHighBucket = 8;

// Clamped to half and twice their mean, and nobody has more than all the others together. Scaled: only their relation
// says something. A seat without a weight counts as the mean of the others.
std::map<std::string, std::int64_t> clampedWeights(const std::map<std::string, std::int64_t>& weights);

struct Electorate {
  std::vector<std::string> seats;  // R, at the start
  std::vector<Candidate> candidates;
  std::map<std::string, std::int64_t> weights{};  // clamped; empty: all the same
};

bool mayChoose(const Electorate& electorate, const std::string& voter, const Candidate& candidate);

struct Tally {
  bool reached = false;
  std::string leader;  // shown, and never called consensus on a tie; empty without a valid ballot
  bool tied = false;
  bool quorate = false;
  std::size_t valid = 0;
  std::map<std::string, std::size_t> votes;    // by candidate
  std::map<std::string, std::int64_t> weight;  // the same, weighted
  double agreement = 0;                        // c / B
  double confidence = 0;                       // mean of the leader's ballots, 0..1
};

// A voter's last ballot counts.
Tally tally(const Electorate& electorate, const std::vector<Ballot>& ballots, const Rule& rule);
// Everybody who may chooses the same, and there is a quorum.
bool unopposed(const Electorate& electorate, const std::vector<Ballot>& ballots, const Tally& tally);

// Of two votes, how many chose each of what there was, in the same order: the Kolmogorov-Smirnov distance of the two,
// the largest difference between their shares of the first k for any k, is less than the limit. Not where nobody voted.
bool closerThan(const Share& limit, const std::vector<std::int64_t>& one, const std::vector<std::int64_t>& other);

}  // namespace aragora::debate
