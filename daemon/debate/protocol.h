// The rules of a debate as a machine without clock, I/O or the JSON of clients: it is told what was recorded (events,
// and what providers answered) and says what comes next. Told the same, it says the same: a debate that was interrupted
// anywhere goes on when what it left behind is told to a new machine, in order. One owner.
//
// There are two sets of rules. Which one a debate goes by is recorded when it is created, so that one that an upgrade
// interrupted ends by the rules it began with: first_protocol.h has those of 1, deliberation.h those of 2 and later.
#pragma once

#include "common/store/events.h"
#include "daemon/debate/consensus.h"
#include "daemon/debate/seats.h"
#include "daemon/providers/provider.h"

namespace aragora::debate {

// The rules by which debates are held: 1, the first ones; 2; 2 with options that its first versions do not know and
// would play without; and those by which what the task came with is shown in every phase, not for the first proposals
// alone, the claims are those of the proposal as it stands, how sure a ballot is must be a whole number of percent, and
// what the judge chose speaks for a synthesis that failed. All but the last are of debates that are there from before.
inline constexpr std::int64_t kDeliberation = 2;
inline constexpr std::int64_t kLaterOptions = 3;
inline constexpr std::int64_t kContextForAll = 4;
inline constexpr std::int64_t kOfNewDebates = kContextForAll;
inline constexpr std::string_view kTimeIsOver = "the time for debating is over";
// What is recorded of a seat that had no answer when it was time to vote.
inline std::string noAnswerSince(std::string_view reason) { return fmt::format("no answer: {}", reason); }

struct Setup {
  std::string task;
  std::string context;
  std::vector<Seat> seats;
  std::int64_t rounds = 0;
  std::string consensus = "majority";  // a name that parseConsensusKind knows
  std::int64_t seed = 0;
  // Of the rules of 2 and later:
  std::int64_t protocol = kOfNewDebates;
  std::vector<std::string> documents{};
  Share quorum{1, 2};
  Share share{2, 3};
  bool allow_absent = false;
  std::string judge{};  // an agent that has no seat; empty: the seat with least at stake
  // Of 3 and later:
  bool exclude_orders = false;
  bool stop_when_steady = false;
};

// What is asked of one seat, at most once with an answer.
struct Place {
  store::Phase phase = store::Phase::Propose;
  std::int64_t round = 0;
  std::string seat;
  auto operator<=>(const Place&) const = default;
};
// What there is no time for when the time for debating is over.
bool beforeTheVote(store::Phase phase);
struct Inquiry {
  Place place;
  std::string agent;      // who speaks for the seat
  json::object material;  // the data of the prompt
  std::string system;     // the instructions
  std::optional<providers::Shape> shape{};
};
struct Answer {
  Place place;
  bool answered = false;
  std::string text;          // what was answered, or why there is no answer
  bool lasting = false;      // asking again would not help: a key, a limit of spending, a refusal
  bool over_budget = false;  // nobody was asked: there is not enough money left
};

struct Ask {
  std::vector<Inquiry> inquiries;  // at once
};
struct Wait {};  // for an answer to what was asked
struct Append {
  std::vector<store::NewEvent> events;  // all or none
};
// Too few can be asked: the debate rests, and goes on after DebateResumed.
struct Adjourn {
  std::vector<store::NewEvent> events;
};
struct Finish {
  std::vector<store::NewEvent> events;  // the last one is DebateEnded; how long it took is for the caller to fill in
  std::optional<store::Consensus> consensus;  // of a debate that came to its end
};
struct Done {};
using Step = std::variant<Ask, Wait, Append, Adjourn, Finish, Done>;

class Protocol {
 public:
  virtual ~Protocol() = default;

  virtual void recorded(const store::Event& event) = 0;
  virtual void recorded(const Answer& answer) = 0;
  // On its way: not to be asked again by this machine.
  virtual void asked(const Place& place) = 0;

  virtual Step next() const = 0;
  // The time for debating is over, or the money: what is recorded then leads to the vote on what there is. Nothing
  // where that has been recorded, the vote is over, or next() is to be carried out first.
  virtual std::optional<Append> hurry(const std::string& reason) const = 0;
  // What ends the debate before its time.
  virtual Finish end(store::DebateStatus status, std::string outcome, std::string reason) const = 0;
};

// By the rules of that number; Error(Damaged) for one that this version does not know.
std::unique_ptr<Protocol> makeProtocol(std::int64_t version, Setup setup);

}  // namespace aragora::debate
