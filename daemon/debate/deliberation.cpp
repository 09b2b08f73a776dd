#include "daemon/debate/deliberation.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "daemon/debate/isolation.h"

namespace aragora::debate {

using store::Phase;

namespace {
constexpr int kSilentPhases = 2;  // then a seat is dropped
constexpr Share kSteady{1, 10};

Place placeOf(const store::Event& event, Phase phase) { return {phase, event.round, event.agent}; }
}  // namespace

Deliberation::Deliberation(Setup setup) : setup_(std::move(setup)) {}

void Deliberation::recorded(const Answer& answer) {
  candidates_.clear();
  answers_[answer.place] = answer;
}

void Deliberation::recorded(const store::Event& event) {
  candidates_.clear();
  const auto& body = event.body;
  if (const auto* started = std::get_if<store::DebateStarted>(&body)) {
    started_ = true;
    for (std::size_t i = 0; i < std::min(started->weights.size(), setup_.seats.size()); ++i)
      weights_[setup_.seats[i].name] = started->weights[i];
  } else if (std::holds_alternative<store::RoundStarted>(body)) {
    rounds_started_.emplace(event.round, audience_.size());
  } else if (std::holds_alternative<store::RoundEnded>(body)) {
    rounds_ended_.insert(event.round);
  } else if (const auto* message = std::get_if<store::AgentMessage>(&body)) {
    events_[placeOf(event, message->role == store::Role::Proposer ? Phase::Propose : Phase::Revise)] = {body};
  } else if (std::holds_alternative<store::Critique>(body)) {
    events_[placeOf(event, Phase::Critique)].push_back(body);
  } else if (std::holds_alternative<store::Vote>(body)) {
    events_[placeOf(event, Phase::Vote)] = {body};
  } else if (const auto* verdict = std::get_if<store::Verdict>(&body)) {
    events_[placeOf(event, verdict->reversed ? Phase::JudgeReversed : Phase::Judge)] = {body};
  } else if (std::holds_alternative<store::Synthesis>(body)) {
    events_[placeOf(event, Phase::Synthesize)] = {body};
  } else if (const auto* error = std::get_if<store::AgentError>(&body)) {
    errors_[placeOf(event, error->phase)] = error->lasting;
    if (error->message != noAnswerSince(kTimeIsOver) || last_errors_.count(event.agent) == 0)
      last_errors_[event.agent] = error->message;
  } else if (std::holds_alternative<store::SeatDropped>(body)) {
    dropped_.insert(event.agent);
  } else if (const auto* over = std::get_if<store::PhaseTimeout>(&body)) {
    hurried_ = over->reason;
  } else if (const auto* paused = std::get_if<store::DebatePaused>(&body)) {
    paused_ = *paused;
    paused_in_ = event.round;
  } else if (std::holds_alternative<store::DebateResumed>(body)) {
    // Whoever was not heard where it came to rest is asked again.
    if (paused_ && paused_->reason == "awaiting_quorum") {
      for (const auto& seat : seats()) {
        const Place place{paused_->phase, paused_in_, seat};
        if (const auto known = errors_.find(place); known == errors_.end() || known->second) continue;
        errors_.erase(place);
        answers_.erase(place);
        asked_.erase(place);
      }
    }
    paused_.reset();
  } else if (const auto* consensus = std::get_if<store::Consensus>(&body)) {
    consensus_ = *consensus;
  } else if (const auto* said = std::get_if<store::AudienceMessage>(&body)) {
    audience_.push_back(said->content);
  } else if (std::holds_alternative<store::Report>(body)) {
    reported_ = true;
  } else if (std::holds_alternative<store::DebateEnded>(body)) {
    ended_ = true;
  }
}

Step Deliberation::next() const {
  auto course = begin();
  return follow(course);
}

Deliberation::Course Deliberation::begin() const { return {seats(), {}, std::nullopt, {}}; }

Step Deliberation::follow(Course& course) const {
  if (ended_) return Done{};
  if (consensus_) return closing(*consensus_, {}, {});
  if (paused_ && paused_->reason == "awaiting_quorum") return Append{{{paused_in_, "", store::DebateResumed{}}}};
  if (auto opening = this->opening(); !opening.events.empty()) return opening;
  const auto everybody = course.active;
  if (auto step = stage(proposing(everybody), course)) return std::move(*step);
  if (auto step = quorate(Phase::Propose, 0, everybody, proposers().size())) return std::move(*step);
  if (auto step = vote(0, course)) return std::move(*step);
  const auto blind = tallyOf(0);
  const auto confident = ballots(0);
  if (setup_.rounds == 0 || candidates(0).size() == 1 ||
      (unopposed(electorate(0), confident, blind) &&
       std::all_of(confident.begin(), confident.end(), [](const Ballot& ballot) {
         return ballot.choice.empty() || bucketOf(ballot.confidence) >= kHighBucket;
       }))) {
    course.stopped = setup_.rounds == 0 ? "no_rounds" : "agreed";
    return verdict(0, course);
  }
  std::int64_t last = 0;
  for (std::int64_t round = 1; round <= setup_.rounds && course.stopped.empty(); ++round) {
    if (hurried_ && !worthAVote(round)) break;
    if (auto step = this->round(round, course)) return std::move(*step);
    last = round;
    course.stopped = whyStopped(round);
  }
  if (hurried_) course.stopped = *hurried_ == kTimeIsOver ? "time" : "budget";
  if (course.stopped.empty()) course.stopped = "rounds";
  return verdict(last, course);
}

Append Deliberation::opening() const {
  Append append;
  if (!started_) {
    store::DebateStarted started{setup_.task, seats(), setup_.rounds, {}};
    if (rule().kind == ConsensusKind::Weighted) {
      std::map<std::string, std::int64_t> asked;
      for (const auto& seat : setup_.seats) asked[seat.name] = seat.weight;
      const auto weights = clampedWeights(asked);
      for (const auto& seat : setup_.seats) started.weights.push_back(weights.at(seat.name));
    }
    append.events.push_back({0, "", std::move(started)});
  }
  if (rounds_started_.count(0) == 0) append.events.push_back({0, "", store::RoundStarted{Phase::Propose}});
  return append;
}

std::optional<Step> Deliberation::stage(const Stage& stage, Course& course) const {
  const bool over = hurried_ && beforeTheVote(stage.phase);  // what is recorded counts, and nothing else
  Ask ask;
  bool waiting = false;
  for (const auto& seat : stage.seats) {
    const auto place = over ? std::nullopt : unanswered({stage.phase, stage.round, seat});
    if (!place) continue;
    if (asked_.count(*place) > 0)
      waiting = true;
    else
      ask.inquiries.push_back(stage.inquiry(*place));
  }
  if (waiting || !ask.inquiries.empty()) course.open = stage;
  if (!ask.inquiries.empty()) return ask;
  if (waiting) return Wait{};
  Append append;
  for (const auto& seat : stage.seats) {
    const Place place{stage.phase, stage.round, seat};
    const auto answer = answers_.find(place);
    if (!over && answer != answers_.end() && !answer->second.answered && errors_.count(place) == 0)
      append.events.push_back(
          {stage.round, seat, store::AgentError{stage.phase, answer->second.text, answer->second.lasting}});
  }
  for (const auto& seat : stage.seats) {
    const Place place{stage.phase, stage.round, seat};
    if (events_.count(place) > 0) continue;
    for (auto& body : said(place)) append.events.push_back({stage.round, seat, std::move(body)});
  }
  if (!append.events.empty()) return append;
  return attend(stage, course);
}

std::optional<Step> Deliberation::attend(const Stage& stage, Course& course) const {
  Append append;
  const auto needed = quorumOf(rule(), setup_.seats.size());
  const auto answered = std::count_if(stage.seats.begin(), stage.seats.end(), [&](const auto& seat) {
    return !said({stage.phase, stage.round, seat}).empty();
  });
  const bool rests = static_cast<std::size_t>(answered) < needed;  // they may be heard yet
  for (const auto& seat : stage.seats) {
    const Place place{stage.phase, stage.round, seat};
    if (!failed(place)) {
      if (!said(place).empty()) course.silent[seat] = 0;
      continue;
    }
    const auto at = std::find(course.active.begin(), course.active.end(), seat);
    if (++course.silent[seat] < kSilentPhases || at == course.active.end()) continue;
    if (rests || course.active.size() - 1 < needed) continue;
    course.active.erase(at);
    if (dropped_.count(seat) == 0)
      append.events.push_back(
          {stage.round, seat, store::SeatDropped{fmt::format("no answer in {} phases running", kSilentPhases)}});
  }
  if (append.events.empty()) return std::nullopt;
  return append;
}

// Enough answered for the phase to count. Otherwise it rests, where that may help, or has ended.
std::optional<Step> Deliberation::quorate(Phase phase, std::int64_t round, const Seats& seats,
                                          std::size_t answered) const {
  const auto needed = quorumOf(rule(), setup_.seats.size());
  if (answered >= needed) return std::nullopt;
  const auto hopeful = static_cast<std::size_t>(std::count_if(seats.begin(), seats.end(), [&](const auto& seat) {
    const auto error = errors_.find({phase, round, seat});
    return error != errors_.end() && !error->second;
  }));
  if (hurried_ || answered + hopeful < needed)
    return end(
        store::DebateStatus::Failed, "insufficient_participation",
        fmt::format("only {} of {} agents answered{}", answered, setup_.seats.size(), causes(phase, round, seats)));
  return Adjourn{{{round, "",
                   store::DebatePaused{"awaiting_quorum", phase,
                                       fmt::format("{} of {} agents answered, {} are needed{}", answered,
                                                   setup_.seats.size(), needed, causes(phase, round, seats))}}}};
}

std::string Deliberation::causes(Phase phase, std::int64_t round, const Seats& seats) const {
  std::vector<std::string> distinct;
  for (const auto& seat : seats) {
    if (errors_.count({phase, round, seat}) == 0) continue;
    const auto& message = last_errors_.at(seat);
    if (std::find(distinct.begin(), distinct.end(), message) == distinct.end()) distinct.push_back(message);
  }
  return distinct.empty() ? std::string() : ": " + join(distinct, "; ");
}

std::optional<Step> Deliberation::vote(std::int64_t round, Course& course) const {
  const auto voters = course.active;
  if (auto step = stage(choosing(Phase::Vote, round, voters), course)) return step;
  const auto heard = std::count_if(voters.begin(), voters.end(), [&](const auto& seat) {
    return !said({Phase::Vote, round, seat}).empty();
  });
  return quorate(Phase::Vote, round, voters, static_cast<std::size_t>(heard));
}

std::optional<Step> Deliberation::round(std::int64_t round, Course& course) const {
  if (rounds_started_.count(round) == 0) return Append{{{round, "", store::RoundStarted{Phase::Critique}}}};
  if (auto step = stage(critiquing(round, Seats(course.active)), course)) return step;
  if (auto step = stage(revising(round, Seats(course.active)), course)) return step;
  if (auto step = vote(round, course)) return step;
  if (rounds_ended_.count(round) == 0) return Append{{{round, "", store::RoundEnded{}}}};
  return std::nullopt;
}

// When time is over: something changed since the last vote, or this one is under way.
bool Deliberation::worthAVote(std::int64_t round) const {
  const auto all = seats();
  return std::any_of(all.begin(), all.end(), [&](const auto& seat) {
    return !said({Phase::Revise, round, seat}).empty() || !said({Phase::Vote, round, seat}).empty();
  });
}

std::string Deliberation::whyStopped(std::int64_t round) const {
  if (candidates(round).size() == 1) return "agreed";
  const auto all = setup_.seats.size();
  std::size_t enough = 0;
  for (const auto& seat : seats()) {
    const auto vote = saidOnce<store::Vote>({Phase::Vote, round, seat});
    if (vote && vote->more == false) ++enough;
  }
  if (3 * enough >= 2 * all) return "nothing_more_expected";
  const auto leader = tallyOf(round).leader;
  bool kept = !leader.empty() && leader == tallyOf(round - 1).leader;
  for (const auto& seat : seats()) {
    const auto revision = saidOnce<store::AgentMessage>({Phase::Revise, round, seat});
    kept = kept && (!revision || revision->decision == "keep");
  }
  if (kept) return "settled";
  return setup_.stop_when_steady && steady(round) && steady(round - 1) ? "steady" : "";
}

bool Deliberation::steady(std::int64_t round) const {
  if (round < 1) return false;
  const auto names = seats();
  // By seats in the order of the request, the last place for whoever abstained.
  const auto histogram = [&](std::int64_t of) {
    std::vector<std::int64_t> chosen(names.size() + 1);
    for (const auto& ballot : ballots(of))
      ++chosen.at(static_cast<std::size_t>(std::find(names.begin(), names.end(), ballot.choice) - names.begin()));
    return chosen;
  };
  return closerThan(kSteady, histogram(round - 1), histogram(round));
}

Step Deliberation::verdict(std::int64_t round, Course& course) const {
  const auto tally = tallyOf(round);
  const auto standing = candidates(round);
  store::Consensus consensus;
  consensus.reached = tally.reached;
  consensus.tied = tally.tied;
  consensus.agreement = tally.agreement;
  consensus.confidence = tally.confidence;
  consensus.method = std::string(name(rule().kind));
  consensus.leader = tally.leader;
  consensus.agreed_without_debate = course.stopped == "agreed" && round == 0;
  if (rule().kind == ConsensusKind::Judge && eligible(round).size() > 1 && course.stopped != "agreed") {
    const auto seat = judgeSeat(round, course.active);
    std::vector<std::string> choices;
    for (const auto phase : {Phase::Judge, Phase::JudgeReversed}) {
      if (auto step = stage(choosing(phase, round, {seat}), course)) return std::move(*step);
      choices.push_back(saidOnce<store::Verdict>({phase, round, seat}).value_or(store::Verdict{}).choice);
    }
    const bool agrees = !choices[0].empty() && choices[0] == choices[1];
    consensus.judged = agrees ? "agreed" : "unstable";
    if (agrees) {
      consensus.reached = tally.quorate;
      consensus.leader = choices[0];
      consensus.tied = false;
    }
  }
  for (const auto& seat : seats()) {
    const auto vote = saidOnce<store::Vote>({Phase::Vote, round, seat});
    if (!vote) continue;
    consensus.ballots.push_back({seat, *vote});
    const auto* leading = candidateOf(standing, consensus.leader);
    // The winner does not dissent from its own answer, whatever it was allowed to vote for.
    if (!consensus.leader.empty() && vote->choice == consensus.leader)
      consensus.supporting.push_back(seat);
    else if (leading == nullptr || leading->authors.count(seat) == 0)
      consensus.dissenting.push_back(seat);
  }
  for (const auto& candidate : standing) {
    if (candidate.id != consensus.leader) consensus.dissent.push_back({candidate.id, textOf(candidate.id, round)});
  }
  if (!consensus.leader.empty()) consensus.answer = textOf(consensus.leader, round);
  if (consensus.reached) {
    const auto* leading = candidateOf(standing, consensus.leader);
    auto writer = course.active.front();
    for (const auto& seat : course.active) {
      if (leading != nullptr && leading->authors.count(seat) > 0) {
        writer = seat;
        break;
      }
    }
    if (auto step = stage(synthesizing(round, writer, consensus.leader), course)) return std::move(*step);
    const auto synthesis = saidOnce<store::Synthesis>({Phase::Synthesize, round, writer});
    if (synthesis) consensus.answer = synthesis->content;
  }
  return closing(consensus, {{round, "", consensus}}, course.stopped);
}

Finish Deliberation::closing(const store::Consensus& consensus, std::vector<store::NewEvent> events,
                             const std::string& stopped) const {
  const auto round = std::max<std::int64_t>(0, lastVote());
  const auto rounds = static_cast<std::int64_t>(rounds_ended_.size());
  if (!reported_) {
    auto content = report(stopped);
    const auto blind = tallyOf(0).leader;
    content["final_winner"] =
        consensus.leader.empty() ? json::value(nullptr) : json::value(json::string(consensus.leader));
    content["debate_changed_the_outcome"] = folded(textOf(blind, 0)) != folded(textOf(consensus.leader, round));
    content["consensus_reached"] = consensus.reached;
    content["agreed_without_debate"] = consensus.agreed_without_debate;
    if (!consensus.judged.empty()) content["judged"] = consensus.judged;
    events.push_back({round, "", store::Report{std::move(content)}});
  }
  events.push_back({round, "",
                    store::DebateEnded{store::DebateStatus::Completed,
                                       consensus.reached ? "consensus" : "no_consensus",
                                       {},
                                       consensus.reached,
                                       0,
                                       rounds}});
  return {std::move(events), consensus};
}

std::optional<Append> Deliberation::hurry(const std::string& reason) const {
  if (hurried_ || ended_ || consensus_ || !started_) return std::nullopt;
  auto course = begin();
  const auto step = follow(course);
  if (std::holds_alternative<Finish>(step) || std::holds_alternative<Append>(step)) return std::nullopt;
  const auto phase = course.open ? course.open->phase : Phase::Vote;
  if (phase == Phase::Synthesize || phase == Phase::Judge || phase == Phase::JudgeReversed) return std::nullopt;
  Append append;
  const auto round = course.open ? course.open->round : 0;
  if (course.open && beforeTheVote(phase)) {
    for (const auto& seat : course.open->seats) {
      const Place place{phase, round, seat};
      if (events_.count(place) > 0 || errors_.count(place) > 0) continue;
      auto bodies = said(place);
      if (bodies.empty()) append.events.push_back({round, seat, store::AgentError{phase, noAnswerSince(reason)}});
      for (auto& body : bodies) append.events.push_back({round, seat, std::move(body)});
    }
  }
  append.events.push_back({round, "", store::PhaseTimeout{phase, reason}});
  return append;
}

Finish Deliberation::end(store::DebateStatus status, std::string outcome, std::string reason) const {
  std::vector<store::NewEvent> events;
  const auto rounds = static_cast<std::int64_t>(rounds_ended_.size());
  if (started_ && !reported_) events.push_back({rounds, "", store::Report{report(outcome)}});
  events.push_back({rounds, "", store::DebateEnded{status, std::move(outcome), std::move(reason), false, 0, rounds}});
  return {std::move(events), std::nullopt};
}

}  // namespace aragora::debate
