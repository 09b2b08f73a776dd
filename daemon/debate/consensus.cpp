#include "daemon/debate/consensus.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::debate {

namespace {
constexpr Names<ConsensusKind, 6> kKinds{{{ConsensusKind::Majority, "majority"},
                                          {ConsensusKind::Supermajority, "supermajority"},
                                          {ConsensusKind::Unanimous, "unanimous"},
                                          {ConsensusKind::Weighted, "weighted"},
                                          {ConsensusKind::Judge, "judge"},
                                          {ConsensusKind::Any, "any"}}};

std::optional<std::int64_t> wholeNumber(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || text[0] == '-') return std::nullopt;
  return value;
}

std::optional<Share> shareOf(std::int64_t numerator, std::int64_t denominator) {
  if (numerator <= 0 || denominator <= 0 || numerator > denominator || denominator > 1'000'000) return std::nullopt;
  const auto divisor = std::gcd(numerator, denominator);
  return Share{numerator / divisor, denominator / divisor};
}

const Candidate* candidateOf(const Electorate& electorate, const std::string& id) {
  for (const auto& candidate : electorate.candidates) {
    if (candidate.id == id) return &candidate;
  }
  return nullptr;
}

// The ballots that count, one a voter.
std::map<std::string, Ballot> validOf(const Electorate& electorate, const std::vector<Ballot>& ballots) {
  std::map<std::string, Ballot> valid;
  for (const auto& ballot : ballots) {
    const auto* candidate = candidateOf(electorate, ballot.choice);
    const bool known =
        std::find(electorate.seats.begin(), electorate.seats.end(), ballot.voter) != electorate.seats.end();
    if (candidate != nullptr && known && mayChoose(electorate, ballot.voter, *candidate))
      valid[ballot.voter] = ballot;
    else
      valid.erase(ballot.voter);
  }
  return valid;
}

std::int64_t weightOf(const Electorate& electorate, const Ballot& ballot) {
  const auto found = electorate.weights.find(ballot.voter);
  return (found == electorate.weights.end() ? 1 : found->second) * bucketOf(ballot.confidence);
}

// All that a rule for all asks for: every seat that may choose it.
std::size_t electorsOf(const Electorate& electorate, const Candidate& candidate) {
  return static_cast<std::size_t>(
      std::count_if(electorate.seats.begin(), electorate.seats.end(),
                    [&](const std::string& seat) { return mayChoose(electorate, seat, candidate); }));
}
}  // namespace

std::string_view name(ConsensusKind kind) { return nameIn(kKinds, kind); }

std::optional<ConsensusKind> parseConsensusKind(std::string_view name) {
  if (name == "semantic") return ConsensusKind::Majority;
  if (name == "hybrid") return ConsensusKind::Judge;
  if (name == "none") return ConsensusKind::Any;
  return parseIn(kKinds, name);
}

std::string consensusKinds() {
  std::vector<std::string> names;
  for (const auto& [kind, name] : kKinds) names.emplace_back(name);
  return join(names, ", ");
}

std::optional<Share> parseShare(std::string_view text) {
  if (const auto slash = text.find('/'); slash != std::string_view::npos) {
    const auto numerator = wholeNumber(text.substr(0, slash));
    const auto denominator = wholeNumber(text.substr(slash + 1));
    return numerator && denominator ? shareOf(*numerator, *denominator) : std::nullopt;
  }
  const auto point = text.find('.');
  const auto whole = wholeNumber(text.substr(0, point));
  if (!whole || *whole > 1) return std::nullopt;
  if (point == std::string_view::npos) return shareOf(*whole, 1);
  const auto digits = text.substr(point + 1);
  const auto part = wholeNumber(digits);
  if (!part || digits.size() > 6) return std::nullopt;
  std::int64_t denominator = 1;
  for (std::size_t i = 0; i < digits.size(); ++i) denominator *= 10;
  return shareOf(*whole * denominator + *part, denominator);
}

std::string toText(const Share& share) { return fmt::format("{}/{}", share.numerator, share.denominator); }

std::size_t quorumOf(const Rule& rule, std::size_t seats) {
  const auto numerator = static_cast<std::size_t>(rule.quorum.numerator);
  const auto denominator = static_cast<std::size_t>(rule.quorum.denominator);
  return std::max<std::size_t>(2, (numerator * seats + denominator - 1) / denominator);
}

std::int64_t bucketOf(int confidence) {
  if (confidence <= 60) return 3;
  if (confidence <= 80) return 5;
  return confidence <= 90 ? kHighBucket : kHighestBucket;
}

std::map<std::string, std::int64_t> clampedWeights(const std::map<std::string, std::int64_t>& weights) {
  constexpr std::int64_t kScale = 1000;
  std::int64_t sum = 0;
  for (const auto& [seat, weight] : weights) sum += std::max<std::int64_t>(1, weight) * kScale;
  const auto mean = weights.empty() ? kScale : sum / static_cast<std::int64_t>(weights.size());
  std::map<std::string, std::int64_t> clamped;
  std::int64_t total = 0;
  for (const auto& [seat, weight] : weights) {
    // Rounded up, so that the lower bound holds.
    clamped[seat] = std::clamp(std::max<std::int64_t>(1, weight) * kScale, (mean + 1) / 2, 2 * mean);
    total += clamped[seat];
  }
  for (auto& [seat, weight] : clamped) {
    if (const auto others = total - weight; weight > others && clamped.size() > 1) {
      total -= weight - others;
      weight = others;
    }
  }
  return clamped;
}

bool mayChoose(const Electorate& electorate, const std::string& voter, const Candidate& candidate) {
  if (electorate.seats.size() < 3) return true;
  return !(candidate.authors.size() == 1 && candidate.authors.count(voter) == 1);
}

Tally tally(const Electorate& electorate, const std::vector<Ballot>& ballots, const Rule& rule) {
  Tally result;
  const auto valid = validOf(electorate, ballots);
  std::map<std::string, int> confidence;
  for (const auto& candidate : electorate.candidates) {
    result.votes[candidate.id] = 0;
    result.weight[candidate.id] = 0;
  }
  std::int64_t all_weight = 0;
  for (const auto& [voter, ballot] : valid) {
    ++result.valid;
    ++result.votes[ballot.choice];
    const auto weight = weightOf(electorate, ballot);
    result.weight[ballot.choice] += weight;
    all_weight += weight;
    confidence[ballot.choice] += ballot.confidence;
  }
  const bool weighted = rule.kind == ConsensusKind::Weighted;
  const auto support = [&](const Candidate& candidate) {
    return weighted ? result.weight.at(candidate.id) : static_cast<std::int64_t>(result.votes.at(candidate.id));
  };
  const Candidate* leader = nullptr;
  for (const auto& candidate : electorate.candidates) {
    if (support(candidate) == 0) continue;
    const auto rank = [&](const Candidate& one) {
      return std::tuple(-support(one), -confidence[one.id], -static_cast<std::int64_t>(one.earlier_votes),
                        one.text_hash, one.id);
    };
    if (leader == nullptr || rank(candidate) < rank(*leader)) leader = &candidate;
  }
  result.quorate = result.valid >= quorumOf(rule, electorate.seats.size());
  if (leader == nullptr) return result;
  result.leader = leader->id;
  result.tied = std::count_if(electorate.candidates.begin(), electorate.candidates.end(),
                              [&](const auto& candidate) { return support(candidate) == support(*leader); }) > 1;
  const auto count = static_cast<std::int64_t>(result.votes.at(leader->id));
  const auto cast = static_cast<std::int64_t>(result.valid);
  result.agreement = static_cast<double>(count) / static_cast<double>(cast);
  result.confidence = static_cast<double>(confidence[leader->id]) / static_cast<double>(count) / 100;
  bool enough = false;
  switch (rule.kind) {
    case ConsensusKind::Majority:
    case ConsensusKind::Judge:
      enough = 2 * count > cast;
      break;
    case ConsensusKind::Supermajority:
      enough = rule.share.denominator * count >= rule.share.numerator * cast;
      break;
    case ConsensusKind::Unanimous:
      enough = rule.allow_absent ? unopposed(electorate, ballots, result)
                                 : static_cast<std::size_t>(count) == electorsOf(electorate, *leader);
      break;
    case ConsensusKind::Weighted:
      enough = 2 * support(*leader) > all_weight;
      break;
    case ConsensusKind::Any:
      enough = true;
      break;
  }
  result.reached = result.quorate && enough && !result.tied;
  return result;
}

bool closerThan(const Share& limit, const std::vector<std::int64_t>& one, const std::vector<std::int64_t>& other) {
  const auto all = std::accumulate(one.begin(), one.end(), std::int64_t{0});
  const auto others = std::accumulate(other.begin(), other.end(), std::int64_t{0});
  if (all == 0 || others == 0) return false;
  std::int64_t first = 0;
  std::int64_t second = 0;
  for (std::size_t i = 0; i < std::max(one.size(), other.size()); ++i) {
    if (i < one.size()) first += one[i];
    if (i < other.size()) second += other[i];
    // |first/all - second/others| >= limit, in whole numbers.
    if (limit.denominator * std::abs(first * others - second * all) >= limit.numerator * all * others) return false;
  }
  return true;
}

bool unopposed(const Electorate& electorate, const std::vector<Ballot>& ballots, const Tally& tally) {
  const auto* leader = candidateOf(electorate, tally.leader);
  if (leader == nullptr || !tally.quorate) return false;
  const auto valid = validOf(electorate, ballots);
  return std::all_of(valid.begin(), valid.end(), [&](const auto& entry) {
    return entry.second.choice == leader->id || !mayChoose(electorate, entry.first, *leader);
  });
}

}  // namespace aragora::debate
