#include "daemon/debate/first_protocol.h"

#include "common/base/error.h"
#include "common/crypto/hash.h"
#include "daemon/debate/first_prompts.h"

namespace aragora::debate {

using store::Phase;
using Seats = std::vector<std::string>;

// The same question to several seats at once.
struct FirstProtocol::Stage {
  Phase phase;
  std::int64_t round;
  Seats seats;
  std::function<json::object(const std::string& seat)> material;
};

namespace {
// With three seats and more nobody chooses among proposals that hold the own one.
bool ownExcluded(const Seats& seats) { return seats.size() >= 3; }

const std::string& after(const Seats& seats, const std::string& seat) {
  const auto at = static_cast<std::size_t>(std::find(seats.begin(), seats.end(), seat) - seats.begin());
  return seats[(at + 1) % seats.size()];
}

std::vector<store::Consensus::Dissent> sorted(std::vector<store::Consensus::Dissent> dissent) {
  std::sort(dissent.begin(), dissent.end(), [](const auto& a, const auto& b) { return a.seat < b.seat; });
  return dissent;
}
}  // namespace

void FirstProtocol::recorded(const store::Event& event) {
  const auto place = [&event](Phase phase) { return Place{phase, event.round, event.agent}; };
  if (std::holds_alternative<store::DebateStarted>(event.body)) {
    started_ = true;
  } else if (std::holds_alternative<store::RoundStarted>(event.body)) {
    rounds_started_.emplace(event.round, audience_.size());
  } else if (std::holds_alternative<store::RoundEnded>(event.body)) {
    rounds_ended_.insert(event.round);
  } else if (const auto* message = std::get_if<store::AgentMessage>(&event.body)) {
    events_[place(message->role == store::Role::Proposer ? Phase::Propose : Phase::Revise)] = event.body;
  } else if (std::holds_alternative<store::Critique>(event.body)) {
    events_[place(Phase::Critique)] = event.body;
  } else if (std::holds_alternative<store::Vote>(event.body)) {
    events_[place(Phase::Vote)] = event.body;
  } else if (std::holds_alternative<store::Synthesis>(event.body)) {
    events_[place(Phase::Synthesize)] = event.body;
  } else if (const auto* error = std::get_if<store::AgentError>(&event.body)) {
    errors_.insert(place(error->phase));
  } else if (const auto* consensus = std::get_if<store::Consensus>(&event.body)) {
    consensus_ = *consensus;
  } else if (const auto* said = std::get_if<store::AudienceMessage>(&event.body)) {
    audience_.push_back(said->content);
  } else if (std::holds_alternative<store::DebateEnded>(event.body)) {
    ended_ = true;
  }
}

void FirstProtocol::recorded(const Answer& answer) { answers_[answer.place] = answer; }

Step FirstProtocol::next() const {
  if (ended_) return Done{};
  if (consensus_) return closing(*consensus_, {});
  if (auto opening = this->opening(); !opening.events.empty()) return opening;
  if (auto step = stage(proposing())) return std::move(*step);
  const auto seats = participants();
  if (seats.size() < 2)
    return end(store::DebateStatus::Failed, "insufficient_participation",
               fmt::format("only {} of {} agents answered", seats.size(), setup_.seats.size()));
  for (std::int64_t round = 1; round <= setup_.rounds; ++round) {
    if (auto step = this->round(round, seats)) return std::move(*step);
  }
  if (auto step = stage(voting(seats))) return std::move(*step);
  return verdict(seats);
}

Append FirstProtocol::opening() const {
  Append append;
  if (!started_) {
    Seats names;
    for (const auto& seat : setup_.seats) names.push_back(seat.name);
    append.events.push_back({0, "", store::DebateStarted{setup_.task, std::move(names), setup_.rounds}});
  }
  if (rounds_started_.count(0) == 0) append.events.push_back({0, "", store::RoundStarted{Phase::Propose}});
  return append;
}

std::optional<Step> FirstProtocol::stage(const Stage& stage) const {
  Ask ask;
  bool waiting = false;
  for (const auto& seat : stage.seats) {
    const Place place{stage.phase, stage.round, seat};
    if (resolved(place)) continue;
    if (asked_.count(place) > 0)
      waiting = true;
    else
      ask.inquiries.push_back({place, agentOf(seat), stage.material(seat), first::instructions(place.phase)});
  }
  if (!ask.inquiries.empty()) return ask;
  if (waiting) return Wait{};
  Append append;
  for (const auto& seat : stage.seats) {
    const Place place{stage.phase, stage.round, seat};
    const auto answer = answers_.find(place);
    if (answer != answers_.end() && !answer->second.answered && errors_.count(place) == 0)
      append.events.push_back({stage.round, seat, store::AgentError{stage.phase, answer->second.text}});
  }
  for (const auto& seat : stage.seats) {
    const Place place{stage.phase, stage.round, seat};
    if (events_.count(place) > 0) continue;
    if (auto body = said(place)) append.events.push_back({stage.round, seat, std::move(*body)});
  }
  if (append.events.empty()) return std::nullopt;
  return append;
}

// Everyone criticises the next seat in the ring, then everyone revises with the critiques of its own proposal.
std::optional<Step> FirstProtocol::round(std::int64_t round, const Seats& seats) const {
  if (rounds_ended_.count(round) > 0) return std::nullopt;
  if (rounds_started_.count(round) == 0) return Append{{{round, "", store::RoundStarted{Phase::Critique}}}};
  if (auto step = stage(critiquing(round, seats))) return step;
  if (auto step = stage(revising(round, seats))) return step;
  return Append{{{round, "", store::RoundEnded{}}}};
}

FirstProtocol::Stage FirstProtocol::proposing() const {
  Seats all;
  for (const auto& seat : setup_.seats) all.push_back(seat.name);
  return {Phase::Propose, 0, std::move(all), [this](const std::string&) {
            auto material = this->material(0);
            material["context"] = setup_.context;
            return material;
          }};
}

FirstProtocol::Stage FirstProtocol::critiquing(std::int64_t round, const Seats& seats) const {
  return {Phase::Critique, round, seats, [this, round, seats](const std::string& seat) {
            const auto& target = after(seats, seat);
            std::string label;
            for (const auto& [known, of] : labels(seats)) {
              if (of == target) label = known;
            }
            auto material = this->material(round);
            material["target"] = label;
            material["proposal"] = proposalOf(target, round - 1);
            return material;
          }};
}

FirstProtocol::Stage FirstProtocol::revising(std::int64_t round, const Seats& seats) const {
  return {Phase::Revise, round, seats, [this, round, seats](const std::string& seat) {
            json::array received;
            for (const auto& critic : seats) {
              const auto body = said({Phase::Critique, round, critic});
              const auto* critique = body ? std::get_if<store::Critique>(&*body) : nullptr;
              if (critique != nullptr && critique->target == seat)
                received.push_back(json::object{{"weakness", critique->weakness}, {"severity", critique->severity}});
            }
            auto material = this->material(round);
            material["own_proposal"] = proposalOf(seat, round - 1);
            material["critiques"] = std::move(received);
            return material;
          }};
}

FirstProtocol::Stage FirstProtocol::voting(const Seats& seats) const {
  return {Phase::Vote, setup_.rounds, seats, [this, seats](const std::string& voter) {
            json::array proposals;
            for (const auto& [label, seat] : labels(seats)) {
              if (ownExcluded(seats) && seat == voter) continue;
              proposals.push_back(json::object{{"id", label}, {"text", proposalOf(seat, setup_.rounds)}});
            }
            return json::object{{"task", setup_.task}, {"proposals", std::move(proposals)}};
          }};
}

FirstProtocol::Stage FirstProtocol::synthesizing(const std::string& leader,
                                                 const std::vector<store::Consensus::Dissent>& dissent) const {
  return {Phase::Synthesize, setup_.rounds, {leader}, [this, dissent](const std::string& seat) {
            json::array others;
            for (const auto& [other, text] : dissent) others.push_back(json::object{{"agent", other}, {"text", text}});
            return json::object{{"task", setup_.task},
                                {"winning_proposal", proposalOf(seat, setup_.rounds)},
                                {"dissent", std::move(others)}};
          }};
}

Step FirstProtocol::verdict(const Seats& seats) const {
  store::Consensus consensus;
  std::vector<Ballot> ballots;
  for (const auto& seat : seats) {
    const auto vote = std::get<store::Vote>(said({Phase::Vote, setup_.rounds, seat}).value_or(store::Vote{}));
    ballots.push_back({seat, vote.choice, static_cast<int>(vote.confidence)});
    consensus.ballots.push_back({seat, vote});
  }
  Seats all;
  for (const auto& seat : setup_.seats) all.push_back(seat.name);
  Electorate electorate{all, {}};
  for (const auto& seat : all) electorate.candidates.push_back({seat, {}});
  Rule rule{parseConsensusKind(setup_.consensus).value_or(ConsensusKind::Majority)};
  if (rule.kind == ConsensusKind::Any) rule.kind = ConsensusKind::Majority;  // another name for it, then
  const auto tally = debate::tally(electorate, ballots, rule);
  consensus.reached = tally.reached;
  consensus.tied = tally.tied;
  consensus.agreement = tally.agreement;
  consensus.confidence = tally.confidence;
  consensus.method = setup_.consensus;
  consensus.leader = tally.leader;
  for (const auto& seat : seats) {
    if (seat != tally.leader) consensus.dissent.push_back({seat, proposalOf(seat, setup_.rounds)});
  }
  consensus.dissent = sorted(std::move(consensus.dissent));
  // The winner does not dissent from its own answer, whatever it was allowed to vote for.
  for (const auto& ballot : ballots) {
    if (!tally.leader.empty() && ballot.choice == tally.leader)
      consensus.supporting.push_back(ballot.voter);
    else if (ballot.voter != tally.leader)
      consensus.dissenting.push_back(ballot.voter);
  }
  if (!tally.leader.empty()) consensus.answer = proposalOf(tally.leader, setup_.rounds);
  if (tally.reached) {
    if (auto step = stage(synthesizing(tally.leader, consensus.dissent))) return std::move(*step);
    const auto body = said({Phase::Synthesize, setup_.rounds, tally.leader});
    if (const auto* synthesis = body ? std::get_if<store::Synthesis>(&*body) : nullptr)
      consensus.answer = synthesis->content;
  }
  std::vector<store::NewEvent> events{{setup_.rounds, "", consensus}};
  return closing(consensus, std::move(events));
}

Finish FirstProtocol::closing(const store::Consensus& consensus, std::vector<store::NewEvent> events) const {
  events.push_back({setup_.rounds, "",
                    store::DebateEnded{store::DebateStatus::Completed,
                                       consensus.reached ? "consensus" : "no_consensus",
                                       {},
                                       consensus.reached,
                                       0,
                                       setup_.rounds}});
  return {std::move(events), consensus};
}

Finish FirstProtocol::end(store::DebateStatus status, std::string outcome, std::string reason) const {
  return {
      {{setup_.rounds, "", store::DebateEnded{status, std::move(outcome), std::move(reason), false, 0, setup_.rounds}}},
      std::nullopt};
}

bool FirstProtocol::resolved(const Place& place) const {
  return events_.count(place) > 0 || answers_.count(place) > 0 || errors_.count(place) > 0;
}

std::optional<store::EventBody> FirstProtocol::said(const Place& place) const {
  if (const auto event = events_.find(place); event != events_.end()) return event->second;
  if (const auto answer = answers_.find(place); answer != answers_.end() && answer->second.answered)
    return understood(place, answer->second);
  if (!resolved(place)) return std::nullopt;
  // It failed: it abstains, and its proposal speaks for it.
  if (place.phase == Phase::Vote) return store::Vote{};
  if (place.phase == Phase::Synthesize) return store::Synthesis{proposalOf(place.seat, setup_.rounds)};
  return std::nullopt;
}

store::EventBody FirstProtocol::understood(const Place& place, const Answer& answer) const {
  switch (place.phase) {
    case Phase::Propose:
      return store::AgentMessage{store::Role::Proposer, answer.text};
    case Phase::Revise:
      return store::AgentMessage{store::Role::Reviser, answer.text};
    case Phase::Critique: {
      auto read = first::readCritique(answer.text);
      return store::Critique{after(participants(), place.seat), std::move(read.weakness), read.severity};
    }
    case Phase::Vote: {
      auto read = first::readBallot(answer.text);
      const auto seats = participants();
      store::Vote vote{{}, read.confidence, std::move(read.reason)};
      for (const auto& [label, seat] : labels(seats)) {
        if (label == read.label && !(ownExcluded(seats) && seat == place.seat)) vote.choice = seat;
      }
      return vote;
    }
    case Phase::Synthesize:
      return store::Synthesis{answer.text};
    default:
      return store::OtherEvent{};
  }
}

// What everybody is told in that round: of what the audience says only what was there when it began, so that all seats
// are told the same.
json::object FirstProtocol::material(std::int64_t round) const {
  json::object material{{"task", setup_.task}};
  const auto heard = rounds_started_.find(round);
  if (heard != rounds_started_.end() && heard->second > 0)
    material["audience"] =
        json::array(audience_.begin(), audience_.begin() + static_cast<std::ptrdiff_t>(heard->second));
  return material;
}

// As it stands after that round; a seat that did not revise stands by what it said.
std::string FirstProtocol::proposalOf(const std::string& seat, std::int64_t round) const {
  for (; round >= 0; --round) {
    const auto body = said({round == 0 ? Phase::Propose : Phase::Revise, round, seat});
    if (const auto* message = body ? std::get_if<store::AgentMessage>(&*body) : nullptr) return message->content;
  }
  return {};
}

// Who proposed something, in the order of the request.
Seats FirstProtocol::participants() const {
  Seats seats;
  for (const auto& seat : setup_.seats) {
    if (said({Phase::Propose, 0, seat.name})) seats.push_back(seat.name);
  }
  return seats;
}

// Labels hide who is who; their order follows from the seed alone.
FirstProtocol::Labels FirstProtocol::labels(const Seats& seats) const {
  std::vector<std::pair<std::string, std::string>> order;
  for (const auto& seat : seats) order.emplace_back(crypto::sha256Hex(fmt::format("{}|{}", setup_.seed, seat)), seat);
  std::sort(order.begin(), order.end());
  Labels labels;
  for (std::size_t i = 0; i < order.size(); ++i) labels.emplace_back(fmt::format("P{}", i + 1), order[i].second);
  std::sort(labels.begin(), labels.end());  // P1, P10, P2: the order in which they were always shown
  return labels;
}

std::string FirstProtocol::agentOf(const std::string& seat) const {
  for (const auto& known : setup_.seats) {
    if (known.name == seat) return known.agent;
  }
  return seat;
}

}  // namespace aragora::debate
