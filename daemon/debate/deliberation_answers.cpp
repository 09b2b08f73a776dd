// What seats said, and who is meant by the labels under which each of them saw the others.
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "daemon/debate/deliberation.h"
#include "daemon/debate/isolation.h"
#include "daemon/debate/prompts.h"
#include "daemon/debate/shuffle.h"

namespace aragora::debate {

using store::Phase;

namespace {
constexpr std::size_t kTargets = 2;  // whom a seat criticises in a round

std::string meant(const std::vector<std::pair<std::string, std::string>>& labels, const std::string& label) {
  for (const auto& [known, what] : labels) {
    if (known == label) return what;
  }
  return {};
}
}  // namespace

std::vector<std::string> Deliberation::names(const Labels& labels) {
  std::vector<std::string> result;
  result.reserve(labels.size());
  for (const auto& [label, what] : labels) result.push_back(label);
  return result;
}

std::optional<Place> Deliberation::unanswered(const Place& place) const {
  if (events_.count(place) > 0 || errors_.count(place) > 0) return std::nullopt;
  const bool nothing_to_do = (place.phase == Phase::Vote && candidates(place.round).size() == 1) ||
                             (place.phase == Phase::Critique && targets(place.round, place.seat).empty());
  if (nothing_to_do) return std::nullopt;
  const auto answer = answers_.find(place);
  if (answer == answers_.end()) return place;
  const auto repair = store::repairOf(place.phase);
  if (!repair || !answer->second.answered) return std::nullopt;
  const Place again{*repair, place.round, place.seat};
  const auto read = ballotIn(place, answer->second.text);
  return read.invalid.empty() || answers_.count(again) > 0 ? std::nullopt : std::optional(again);
}

std::vector<store::EventBody> Deliberation::said(const Place& place) const {
  if (const auto event = events_.find(place); event != events_.end()) return event->second;
  if (hurried_ && beforeTheVote(place.phase)) return {};
  if (place.phase == Phase::Vote && errors_.count(place) == 0 && rounds_started_.count(place.round) > 0) {
    // Who said the same as everybody has nothing to choose.
    const auto standing = candidates(place.round);
    const auto own = proposalOf(place.seat, place.round);
    if (standing.size() == 1 && own)
      return {store::Vote{standing[0].id,
                          own->confidence.value_or(50),
                          "all proposals are the same",
                          place.round == 0 ? "blind" : "round",
                          false,
                          {}}};
  }
  const auto answer = answers_.find(place);
  if (answer != answers_.end() && answer->second.answered) return understood(place, answer->second.text);
  // It failed: its proposal speaks for it.
  if (place.phase == Phase::Synthesize && failed(place)) {
    const auto leader = contextForAll() ? winnerOf(place.round) : tallyOf(place.round).leader;
    return {store::Synthesis{textOf(leader.empty() ? place.seat : leader, place.round)}};
  }
  return {};
}

bool Deliberation::failed(const Place& place) const {
  if (errors_.count(place) > 0) return true;
  const auto answer = answers_.find(place);
  return answer != answers_.end() && !answer->second.answered;
}

std::vector<store::EventBody> Deliberation::understood(const Place& place, const std::string& text) const {
  switch (place.phase) {
    case Phase::Propose: {
      auto read = readProposal(text);
      const bool orders = givesOrders(read.answer);
      return {store::AgentMessage{store::Role::Proposer,
                                  std::move(read.answer),
                                  std::move(read.position),
                                  read.confidence,
                                  std::move(read.claims),
                                  {},
                                  {},
                                  {},
                                  false,
                                  orders}};
    }
    case Phase::Critique: {
      std::vector<store::EventBody> bodies;
      std::set<std::string> seen;
      const auto labels = targets(place.round, place.seat);
      for (auto& read : readCritiques(text)) {
        // Whoever names nobody means the only one, or the first.
        auto target = meant(labels, read.label);
        if (target.empty() && read.label.empty() && !labels.empty()) target = labels.front().second;
        if (target.empty() || !seen.insert(target).second) continue;
        const bool orders = givesOrders(read.weakness) || givesOrders(read.strength);
        bodies.push_back(store::Critique{target, std::move(read.weakness), read.severity,
                                         fmt::format("{}:{}>{}", place.round, place.seat, target),
                                         std::move(read.strength), orders});
      }
      return bodies;
    }
    case Phase::Revise:
      return {revisionOf(place, text)};
    case Phase::Vote:
      return {ballotOf(place, text)};
    case Phase::Judge:
    case Phase::JudgeReversed: {
      auto read = chosen(place, text);
      return {store::Verdict{meant(choices(place), read.label),
                             read.invalid.empty() ? std::move(read.reason) : read.invalid,
                             place.phase == Phase::JudgeReversed}};
    }
    case Phase::Synthesize: {
      auto read = readSynthesis(text);
      store::Synthesis synthesis{std::move(read.answer), std::move(read.risks), {}, std::move(read.dissent)};
      for (const auto& [id, claim] : claimsOf(winnerOf(place.round), place.round)) {
        if (std::find(read.from.begin(), read.from.end(), id) != read.from.end()) synthesis.from.push_back(id);
      }
      return {std::move(synthesis)};
    }
    case Phase::VoteRepair:
    case Phase::JudgeRepair:
    case Phase::JudgeReversedRepair:
      return {};
  }
  return {};
}

store::EventBody Deliberation::revisionOf(const Place& place, const std::string& text) const {
  auto read = readRevision(text);
  const auto before = proposalOf(place.seat, place.round - 1).value_or(store::AgentMessage{});
  store::AgentMessage message{store::Role::Reviser,
                              std::move(read.proposal.answer),
                              std::move(read.proposal.position),
                              read.proposal.confidence,
                              {},
                              read.decision,
                              {},
                              {},
                              false,
                              false};
  const auto known = critiqueLabels(place.round, place.seat);
  for (const auto& label : read.because) {
    if (auto id = meant(known, label); !id.empty()) message.because.push_back(std::move(id));
  }
  if (message.decision == "adopt") {
    message.adopted = meant(targets(place.round, place.seat), read.adopt);
    if (message.adopted.empty()) message.decision = "amend";
    if (!message.adopted.empty()) message.content = textOf(message.adopted, place.round - 1);
  }
  if (contextForAll()) {
    message.claims = message.adopted.empty()
                         ? std::move(read.proposal.claims)
                         : proposalOf(message.adopted, place.round - 1).value_or(store::AgentMessage{}).claims;
  }
  // What is the same stays the same, whatever it is called; and who keeps, keeps all of it.
  if (message.decision == "keep" || folded(message.content) == folded(before.content)) {
    message.decision = "keep";
    message.content = before.content;
    message.position = before.position;
    if (contextForAll()) message.claims = before.claims;
    message.adopted.clear();
  }
  message.uncited = message.decision != "keep" && message.because.empty();
  message.gives_orders = givesOrders(message.content);
  return message;
}

store::Vote Deliberation::ballotOf(const Place& place, const std::string& text) const {
  auto read = chosen(place, text);
  const bool last = hurried_ || place.round == setup_.rounds;
  const std::string kind = place.round == 0 ? "blind" : last ? "final" : "round";
  if (!read.invalid.empty()) return {{}, 0, {}, kind, {}, read.invalid};
  return {meant(choices(place), read.label), read.confidence, std::move(read.reason), kind, read.more, {}};
}

ReadBallot Deliberation::chosen(const Place& place, const std::string& text) const {
  auto read = ballotIn(place, text);
  const auto repair = store::repairOf(place.phase);
  if (read.invalid.empty() || !repair) return read;
  const auto again = answers_.find({*repair, place.round, place.seat});
  if (again != answers_.end() && again->second.answered) read = ballotIn(place, again->second.text);
  return read;
}

ReadBallot Deliberation::ballotIn(const Place& place, const std::string& text) const {
  auto read = readBallot(text, names(choices(place)));
  const bool vote = place.phase == Phase::Vote || place.phase == Phase::VoteRepair;
  if (vote && contextForAll() && read.out_of_range && read.invalid.empty())
    read.invalid = "`confidence` is no whole number from 0 to 100";
  return read;
}

// As it stands after that round; a seat that did not revise stands by what it said.
std::optional<store::AgentMessage> Deliberation::proposalOf(const std::string& seat, std::int64_t round) const {
  for (; round >= 0; --round) {
    if (auto message = saidOnce<store::AgentMessage>({round == 0 ? Phase::Propose : Phase::Revise, round, seat}))
      return message;
  }
  return std::nullopt;
}

std::string Deliberation::textOf(const std::string& seat, std::int64_t round) const {
  return proposalOf(seat, round).value_or(store::AgentMessage{}).content;
}

Deliberation::Labels Deliberation::claimsOf(const std::string& seat, std::int64_t round) const {
  const auto proposal = proposalOf(seat, contextForAll() ? round : 0).value_or(store::AgentMessage{});
  Labels claims;
  for (const auto& claim : proposal.claims) claims.emplace_back(fmt::format("K{}", claims.size() + 1), claim);
  return claims;
}

std::string Deliberation::winnerOf(std::int64_t round) const {
  std::vector<std::string> choices;
  for (const auto& [place, bodies] : events_) {
    const auto* verdict = place.round == round && !bodies.empty() ? std::get_if<store::Verdict>(&bodies[0]) : nullptr;
    if (verdict != nullptr) choices.push_back(verdict->choice);
  }
  const bool agreed = choices.size() == 2 && choices[0] == choices[1] && !choices[0].empty();
  return agreed ? choices[0] : tallyOf(round).leader;
}

Deliberation::Seats Deliberation::seats() const {
  Seats names;
  for (const auto& seat : setup_.seats) names.push_back(seat.name);
  return names;
}

Deliberation::Seats Deliberation::proposers() const {
  Seats names;
  for (const auto& seat : setup_.seats) {
    if (proposalOf(seat.name, 0)) names.push_back(seat.name);
  }
  return names;
}

std::string Deliberation::agentOf(const std::string& seat) const {
  for (const auto& known : setup_.seats) {
    if (known.name == seat) return known.agent;
  }
  return seat == kJudgeSeat ? setup_.judge : seat;
}

std::string Deliberation::roleOf(const std::string& seat) const {
  for (const auto& known : setup_.seats) {
    if (known.name == seat) return known.role;
  }
  return {};
}

std::vector<Candidate> Deliberation::candidates(std::int64_t round) const {
  if (const auto before = candidates_.find(round); before != candidates_.end()) return before->second;
  std::vector<Candidate> result;
  std::map<std::string, std::size_t> known;
  for (const auto& seat : setup_.seats) {
    const auto proposal = proposalOf(seat.name, round);
    if (!proposal) continue;
    const auto hash = crypto::sha256Hex(folded(proposal->content));
    const auto [at, first] = known.emplace(hash, result.size());
    if (first) result.push_back({seat.name, {}, 0, hash});
    result[at->second].authors.insert(seat.name);
  }
  // Whoever adopts it gives it no other name.
  for (const auto& before : round == 0 ? std::vector<Candidate>{} : candidates(round - 1)) {
    const auto same = known.find(before.text_hash);
    if (same != known.end() && result[same->second].authors.count(before.id) > 0) result[same->second].id = before.id;
  }
  candidates_[round] = result;
  return result;
}

std::vector<Candidate> Deliberation::eligible(std::int64_t round) const {
  auto all = candidates(round);
  if (!setup_.exclude_orders) return all;
  std::vector<Candidate> rest;
  for (const auto& candidate : all) {
    if (!givesOrdersIn(candidate, round)) rest.push_back(candidate);
  }
  return rest.empty() ? all : rest;
}

bool Deliberation::givesOrdersIn(const Candidate& candidate, std::int64_t round) const {
  return proposalOf(candidate.id, round).value_or(store::AgentMessage{}).gives_orders;
}

const Candidate* Deliberation::candidateOf(const std::vector<Candidate>& candidates, const std::string& seat) const {
  for (const auto& candidate : candidates) {
    if (candidate.authors.count(seat) > 0) return &candidate;
  }
  return nullptr;
}

bool Deliberation::becomes(const std::string& before, std::int64_t in, const std::string& after,
                           std::int64_t round) const {
  const auto first = candidates(in);
  const auto last = candidates(round);
  const auto* one = candidateOf(first, before);
  const auto* other = candidateOf(last, after);
  if (one == nullptr || other == nullptr) return false;
  const auto adopted = [&](const std::string& seat) {
    for (auto later = in + 1; later <= round; ++later) {
      const auto revision = saidOnce<store::AgentMessage>({Phase::Revise, later, seat});
      if (revision && revision->decision == "adopt") return true;
    }
    return false;
  };
  return one->text_hash == other->text_hash ||
         std::any_of(one->authors.begin(), one->authors.end(),
                     [&](const auto& seat) { return other->authors.count(seat) > 0 && !adopted(seat); });
}

Electorate Deliberation::electorate(std::int64_t round) const {
  Electorate electorate{seats(), eligible(round), {}};
  if (rule().kind == ConsensusKind::Weighted) electorate.weights = weights_;
  if (round == 0) return electorate;
  for (const auto& seat : electorate.seats) {
    const auto blind = saidOnce<store::Vote>({Phase::Vote, 0, seat});
    for (auto& candidate : electorate.candidates) {
      if (blind && candidate.authors.count(blind->choice) > 0) ++candidate.earlier_votes;
    }
  }
  return electorate;
}

std::vector<Ballot> Deliberation::ballots(std::int64_t round) const {
  std::vector<Ballot> result;
  for (const auto& seat : setup_.seats) {
    if (const auto vote = saidOnce<store::Vote>({Phase::Vote, round, seat.name}))
      result.push_back({seat.name, vote->choice, static_cast<int>(vote->confidence)});
  }
  return result;
}

Tally Deliberation::tallyOf(std::int64_t round) const { return tally(electorate(round), ballots(round), rule()); }

Rule Deliberation::rule() const {
  return {parseConsensusKind(setup_.consensus).value_or(ConsensusKind::Majority), setup_.quorum, setup_.share,
          setup_.allow_absent};
}

std::vector<std::pair<std::string, store::Critique>> Deliberation::critiques(std::int64_t round) const {
  std::vector<std::pair<std::string, store::Critique>> result;
  for (const auto& seat : setup_.seats) {
    for (auto& body : said({Phase::Critique, round, seat.name})) {
      if (auto* critique = std::get_if<store::Critique>(&body)) result.emplace_back(seat.name, std::move(*critique));
    }
  }
  return result;
}

// The next in a ring of all who proposed or criticise, so that every proposal has a critic.
Deliberation::Labels Deliberation::targets(std::int64_t round, const std::string& seat) const {
  auto ring = seats();
  Random(setup_.seed, fmt::format("ring|{}", round)).shuffle(ring);
  const auto standing = candidates(round - 1);
  const auto* own = candidateOf(standing, seat);
  const auto at = static_cast<std::size_t>(std::find(ring.begin(), ring.end(), seat) - ring.begin());
  Seats chosen;
  for (std::size_t i = 1; i < ring.size() && chosen.size() < kTargets; ++i) {
    const auto* candidate = candidateOf(standing, ring[(at + i) % ring.size()]);
    if (candidate == nullptr || candidate == own) continue;
    if (std::find(chosen.begin(), chosen.end(), candidate->id) == chosen.end()) chosen.push_back(candidate->id);
  }
  return labelled(std::move(chosen), fmt::format("critique|{}|{}", round, seat));
}

Deliberation::Labels Deliberation::labelled(Seats candidates, const std::string& purpose) const {
  Random(setup_.seed, purpose).shuffle(candidates);
  Labels labels;
  for (auto& candidate : candidates) labels.emplace_back(fmt::format("P{}", labels.size() + 1), std::move(candidate));
  return labels;
}

Deliberation::Labels Deliberation::choices(const Place& place) const {
  const bool ballot = place.phase == Phase::Vote || place.phase == Phase::VoteRepair;
  return ballot ? ballotLabels(place.round, place.seat) : judgeLabels(place.phase, place.round);
}

Deliberation::Labels Deliberation::ballotLabels(std::int64_t round, const std::string& voter) const {
  const Electorate electorate{seats(), eligible(round), {}};
  Seats choices;
  for (const auto& candidate : electorate.candidates) {
    if (mayChoose(electorate, voter, candidate)) choices.push_back(candidate.id);
  }
  return labelled(std::move(choices), fmt::format("vote|{}|{}", round, voter));
}

// In one order and in the reverse of it, with labels by where they stand.
Deliberation::Labels Deliberation::judgeLabels(Phase phase, std::int64_t round) const {
  Seats all;
  for (const auto& candidate : eligible(round)) all.push_back(candidate.id);
  auto labels = labelled(std::move(all), fmt::format("judge|{}", round));
  if (phase != Phase::JudgeReversed && phase != Phase::JudgeReversedRepair) return labels;
  Labels reversed;
  for (auto entry = labels.rbegin(); entry != labels.rend(); ++entry)
    reversed.emplace_back(fmt::format("P{}", reversed.size() + 1), entry->second);
  return reversed;
}

Deliberation::Labels Deliberation::critiqueLabels(std::int64_t round, const std::string& seat) const {
  const auto standing = candidates(round - 1);
  const auto* own = candidateOf(standing, seat);
  std::vector<std::string> ids;
  for (const auto& entry : critiques(round)) {
    if (own != nullptr && own->authors.count(entry.second.target) > 0) ids.push_back(entry.second.id);
  }
  Random(setup_.seed, fmt::format("critiques|{}|{}", round, seat)).shuffle(ids);
  std::vector<std::pair<std::string, std::string>> labels;
  labels.reserve(ids.size());
  for (auto& id : ids) labels.emplace_back(fmt::format("C{}", labels.size() + 1), std::move(id));
  return labels;
}

// Somebody without a proposal if there is one, otherwise whose proposal fewest chose.
std::string Deliberation::judgeSeat(std::int64_t round, const Seats& active) const {
  if (!setup_.judge.empty()) return std::string(kJudgeSeat);
  auto order = active;
  Random(setup_.seed, "judge").shuffle(order);
  const auto tally = tallyOf(round);
  const auto standing = candidates(round);
  const auto stake = [&](const std::string& seat) {
    const auto* own = candidateOf(standing, seat);
    if (own == nullptr) return std::int64_t{-1};
    const auto votes = tally.votes.find(own->id);  // none: it was excluded, and whoever gives orders judges last
    return votes == tally.votes.end() ? INT64_MAX : static_cast<std::int64_t>(votes->second);
  };
  return *std::min_element(order.begin(), order.end(),
                           [&](const auto& a, const auto& b) { return stake(a) < stake(b); });
}

}  // namespace aragora::debate
