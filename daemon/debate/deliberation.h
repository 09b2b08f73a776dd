// The rules of protocol 2. Everybody proposes blindly and votes on what was proposed; where all agree, nothing is
// debated. Otherwise at most `rounds` times: everybody criticises two other proposals, revises its own (a change cites
// the critique that made it necessary) and votes again, until nobody expects more of it. The last vote on the proposals
// as they then stand decides, or the judge who reads them twice, and the winner writes the answer.
//
// Seats that say nothing are passed over and come back with the next phase; after two phases running they are dropped,
// while there is a quorum without them. Without one the debate rests. What it goes by is recorded: whatever follows
// from a recorded event and the seed is derived anew, never kept.
#pragma once

#include "daemon/debate/protocol.h"

namespace aragora::debate {

struct ReadBallot;

class Deliberation : public Protocol {
 public:
  explicit Deliberation(Setup setup);

  void recorded(const store::Event& event) override;
  void recorded(const Answer& answer) override;
  void asked(const Place& place) override { asked_.insert(place); }

  Step next() const override;
  std::optional<Append> hurry(const std::string& reason) const override;
  Finish end(store::DebateStatus status, std::string outcome, std::string reason) const override;

 private:
  using Seats = std::vector<std::string>;
  using Labels = std::vector<std::pair<std::string, std::string>>;  // label, candidate
  // The same question to several seats at once.
  struct Stage {
    store::Phase phase;
    std::int64_t round;
    Seats seats;
    std::function<Inquiry(const Place& place)> inquiry;
  };
  // What is found on the way through what was recorded.
  struct Course {
    Seats active;
    std::map<std::string, int> silent;  // phases running
    std::optional<Stage> open;          // where it is held up
    std::string stopped;                // why there are no more rounds
  };

  // deliberation.cpp: the way from beginning to end.
  Course begin() const;
  Step follow(Course& course) const;
  Append opening() const;
  std::optional<Step> stage(const Stage& stage, Course& course) const;
  std::optional<Step> attend(const Stage& stage, Course& course) const;
  std::optional<Step> quorate(store::Phase phase, std::int64_t round, const Seats& seats, std::size_t answered) const;
  // What kept seats from answering there, each once: ": this; that".
  std::string causes(store::Phase phase, std::int64_t round, const Seats& seats) const;
  std::optional<Step> vote(std::int64_t round, Course& course) const;
  std::optional<Step> round(std::int64_t round, Course& course) const;
  bool worthAVote(std::int64_t round) const;
  std::string whyStopped(std::int64_t round) const;
  // The vote came out as the one before it, nearly.
  bool steady(std::int64_t round) const;
  Step verdict(std::int64_t round, Course& course) const;
  Finish closing(const store::Consensus& consensus, std::vector<store::NewEvent> events,
                 const std::string& stopped) const;

  // By kContextForAll.
  bool contextForAll() const { return setup_.protocol >= kContextForAll; }

  // deliberation_phases.cpp: what is asked in each phase.
  Inquiry inquiryOf(const Place& place, json::object material, const std::vector<std::string>& labels,
                    const std::vector<std::string>& critiques = {}) const;
  json::object material(std::int64_t round) const;
  json::array shown(const Labels& labels, std::int64_t round) const;
  Stage proposing(const Seats& seats) const;
  Stage critiquing(std::int64_t round, const Seats& seats) const;
  Stage revising(std::int64_t round, const Seats& seats) const;
  // Ballots, and the judge's verdicts.
  Stage choosing(store::Phase phase, std::int64_t round, const Seats& seats) const;
  Stage synthesizing(std::int64_t round, const std::string& seat, const std::string& leader) const;

  // deliberation_answers.cpp: what was said, and who is meant.
  // What has to be asked there, if anything: once more where it cannot be read what was chosen.
  std::optional<Place> unanswered(const Place& place) const;
  // What the seat says there, as it is or will be recorded.
  std::vector<store::EventBody> said(const Place& place) const;
  template <typename Kind>
  std::optional<Kind> saidOnce(const Place& place) const {
    for (const auto& body : said(place)) {
      if (const auto* one = std::get_if<Kind>(&body)) return *one;
    }
    return std::nullopt;
  }
  std::vector<store::EventBody> understood(const Place& place, const std::string& text) const;
  store::EventBody revisionOf(const Place& place, const std::string& text) const;
  store::Vote ballotOf(const Place& place, const std::string& text) const;
  ReadBallot ballotIn(const Place& place, const std::string& text) const;
  // What it chose, there or when it was asked once more.
  ReadBallot chosen(const Place& place, const std::string& text) const;
  bool failed(const Place& place) const;
  std::optional<store::AgentMessage> proposalOf(const std::string& seat, std::int64_t round) const;
  std::string textOf(const std::string& seat, std::int64_t round) const;
  // What the winner rests on, by the ids under which whoever writes the answer is told: id, claim.
  Labels claimsOf(const std::string& seat, std::int64_t round) const;
  // Where the judge's verdicts say the same, theirs; otherwise the vote's.
  std::string winnerOf(std::int64_t round) const;
  Seats seats() const;
  Seats proposers() const;
  std::string agentOf(const std::string& seat) const;
  std::string roleOf(const std::string& seat) const;
  // Those of that round: what several say is one, known by who said it first, or by the first of them in the order of
  // the request.
  std::vector<Candidate> candidates(std::int64_t round) const;
  // Those of them that may be chosen. Where all give orders, none is excluded for it.
  std::vector<Candidate> eligible(std::int64_t round) const;
  bool givesOrdersIn(const Candidate& candidate, std::int64_t round) const;
  const Candidate* candidateOf(const std::vector<Candidate>& candidates, const std::string& seat) const;
  // What was one seat's is what is the other's later: word for word, or made by a seat of its own, not adopted.
  bool becomes(const std::string& before, std::int64_t in, const std::string& after, std::int64_t round) const;
  Electorate electorate(std::int64_t round) const;
  std::vector<Ballot> ballots(std::int64_t round) const;
  Tally tallyOf(std::int64_t round) const;
  Rule rule() const;
  // A round's critiques, in the order of the request.
  std::vector<std::pair<std::string, store::Critique>> critiques(std::int64_t round) const;
  // Whom the seat criticises.
  Labels targets(std::int64_t round, const std::string& seat) const;
  static std::vector<std::string> names(const Labels& labels);
  Labels choices(const Place& place) const;
  Labels ballotLabels(std::int64_t round, const std::string& voter) const;
  Labels judgeLabels(store::Phase phase, std::int64_t round) const;
  // The critiques of the seat's proposal, by labels of its own: label, id.
  Labels critiqueLabels(std::int64_t round, const std::string& seat) const;
  Labels labelled(Seats candidates, const std::string& purpose) const;
  std::string judgeSeat(std::int64_t round, const Seats& active) const;

  // deliberation_report.cpp
  json::object report(const std::string& stopped) const;
  json::array excluded() const;
  void addSynthesis(json::object& content) const;
  std::int64_t lastVote() const;  // -1: there was none

  Setup setup_;
  bool started_ = false;
  bool ended_ = false;
  std::optional<std::string> hurried_;  // why there is only a vote left
  bool reported_ = false;
  std::optional<store::DebatePaused> paused_;
  std::int64_t paused_in_ = 0;  // round
  std::map<std::string, std::int64_t> weights_;
  std::map<std::int64_t, std::size_t> rounds_started_;  // with how much the audience had said by then
  std::vector<std::string> audience_;
  std::set<std::int64_t> rounds_ended_;
  std::set<std::string> dropped_;
  std::optional<store::Consensus> consensus_;
  std::map<Place, std::vector<store::EventBody>> events_;
  std::map<Place, bool> errors_;                    // recorded as events: whether they last
  std::map<std::string, std::string> last_errors_;  // by seat: the last one that time alone was not the reason of
  std::map<Place, Answer> answers_;
  std::set<Place> asked_;
  mutable std::map<std::int64_t, std::vector<Candidate>> candidates_;  // by round, until something is recorded
};

}  // namespace aragora::debate
