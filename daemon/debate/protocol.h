// The rules of a debate as a machine without clock, I/O or the JSON of clients: it is told what was recorded (events,
// and what providers answered) and says what comes next. Blind proposals, rounds of critique and revision, a vote on
// anonymous proposals, a tally, a synthesis. Told the same, it says the same: a debate that was interrupted anywhere
// goes on when what it left behind is told to a new machine, in order. One owner.
#pragma once

#include "common/store/events.h"
#include "daemon/debate/consensus.h"
#include "daemon/debate/seats.h"

namespace aragora::debate {

struct Setup {
  std::string task;
  std::string context;
  std::vector<Seat> seats;
  std::int64_t rounds = 0;
  std::string consensus = "majority";  // a name that parseConsensusKind knows
  std::int64_t seed = 0;
};

// What is asked of one seat, at most once with an answer.
struct Place {
  store::Phase phase = store::Phase::Propose;
  std::int64_t round = 0;
  std::string seat;
  auto operator<=>(const Place&) const = default;
};
struct Inquiry {
  Place place;
  std::string agent;      // who speaks for the seat
  json::object material;  // the data of the prompt
};
struct Answer {
  Place place;
  bool answered = false;
  std::string text;  // what was answered, or why there is no answer
};

struct Ask {
  std::vector<Inquiry> inquiries;  // at once
};
struct Wait {};  // for an answer to what was asked
struct Append {
  std::vector<store::NewEvent> events;  // all or none
};
struct Match {
  std::vector<std::string> agents;  // each once
  std::vector<double> scores;
};
struct Finish {
  std::vector<store::NewEvent> events;  // the last one is DebateEnded; how long it took is for the caller to fill in
  std::optional<store::Consensus> consensus;  // of a debate that came to its end
  std::optional<Match> match;                 // to be rated
};
struct Done {};
using Step = std::variant<Ask, Wait, Append, Finish, Done>;

class Protocol {
 public:
  explicit Protocol(Setup setup) : setup_(std::move(setup)) {}

  void recorded(const store::Event& event);
  void recorded(const Answer& answer);
  // On its way: not to be asked again by this machine.
  void asked(const Place& place) { asked_.insert(place); }

  Step next() const;
  // What ends the debate before its time.
  Finish end(store::DebateStatus status, std::string outcome, std::string reason) const;

 private:
  struct Stage;
  using Labels = std::vector<std::pair<std::string, std::string>>;  // label, seat
  std::optional<Step> stage(const Stage& stage) const;
  std::optional<Step> round(std::int64_t round, const std::vector<std::string>& seats) const;
  Append opening() const;
  Stage proposing() const;
  Stage critiquing(std::int64_t round, const std::vector<std::string>& seats) const;
  Stage revising(std::int64_t round, const std::vector<std::string>& seats) const;
  Stage voting(const std::vector<std::string>& seats) const;
  Stage synthesizing(const std::string& leader, const std::vector<store::Consensus::Dissent>& dissent) const;
  Step verdict(const std::vector<std::string>& seats) const;
  Finish closing(const store::Consensus& consensus, std::vector<store::NewEvent> events) const;

  bool resolved(const Place& place) const;
  // What the seat says there, as it is or will be recorded.
  std::optional<store::EventBody> said(const Place& place) const;
  store::EventBody understood(const Place& place, const Answer& answer) const;
  json::object material(std::int64_t round) const;
  std::string proposalOf(const std::string& seat, std::int64_t round) const;
  std::vector<std::string> participants() const;
  Labels labels(const std::vector<std::string>& seats) const;
  std::string agentOf(const std::string& seat) const;
  std::optional<Match> matchOf(const store::Consensus& consensus) const;

  Setup setup_;
  bool started_ = false;
  bool ended_ = false;
  std::map<std::int64_t, std::size_t> rounds_started_;  // with how much the audience had said by then
  std::vector<std::string> audience_;
  std::set<std::int64_t> rounds_ended_;
  std::optional<store::Consensus> consensus_;
  std::map<Place, store::EventBody> events_;
  std::set<Place> errors_;  // recorded as events
  std::map<Place, Answer> answers_;
  std::set<Place> asked_;
};

}  // namespace aragora::debate
