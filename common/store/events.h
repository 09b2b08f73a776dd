// What happens in a debate, a struct a kind: what is written to its chain and what its progress is read from. Clients
// see other JSON, made from these in daemon/wire. Payloads have a version in `v`; those without one were written by the
// first version, which stored what it showed, and are still read.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/ratings/match.h"
#include "common/store/states.h"

namespace aragora::store {

struct DebateCreated {
  std::string task;
  std::vector<std::string> agents;  // as they were asked for
  std::int64_t rounds = 0;
  std::string consensus;
  std::int64_t seed = 0;
  std::string request_id{};   // of the request that asked for it; for the log, not shown
  std::int64_t protocol = 1;  // the rules it goes by, whatever version goes on with it
  json::object options{};     // what else was asked for (debate_options.h), documents by their hash
  std::string config_hash{};  // of the settings in effect (common/deployment/config_hash.h); for the receipt, not shown
};
struct DebateStarted {
  std::string task;
  std::vector<std::string> seats;
  std::int64_t rounds = 0;
  std::vector<std::int64_t> weights{};  // of the seats, as they count to the end; empty: all the same
};
struct RoundStarted {
  Phase phase = Phase::Propose;
};
enum class Role { Proposer, Reviser };
std::string_view name(Role role);
struct AgentMessage {
  Role role = Role::Proposer;
  std::string content;
  std::string position{};                    // in one line
  std::optional<std::int64_t> confidence{};  // 0..100
  std::vector<std::string> claims{};
  // Of a reviser:
  std::string decision{};              // keep, amend, adopt
  std::vector<std::string> because{};  // critiques' ids
  std::string adopted{};               // the seat whose proposal it took over
  bool uncited = false;                // changed for no critique that there is: a flip out of conformity
  bool gives_orders = false;           // speaks to the others instead of to the question
};
struct Critique {
  std::string target;  // a seat
  std::string weakness;
  std::int64_t severity = 3;  // 1..5
  std::string id{};           // what revisions cite
  std::string strength{};
  bool gives_orders = false;
};
struct AgentError {
  Phase phase = Phase::Propose;
  std::string message;
  bool lasting = false;  // asking again would not help
};
struct RoundEnded {};
struct Vote {
  std::string choice;           // a seat; empty: abstained, or not understood
  std::int64_t confidence = 0;  // 0..100
  std::string reason;
  std::string kind{};          // blind, round, final
  std::optional<bool> more{};  // another round of debate would help
  std::string invalid{};       // why it counts as an abstention that was none
};
struct Synthesis {
  std::string content;
  std::vector<std::string> open_risks{};
  std::vector<std::string> from{};     // K1, K2 …: claims of what won, in their order
  std::vector<std::string> dissent{};  // what the others held, as the writer sees it
};
struct Consensus {
  struct Ballot {
    std::string seat;
    Vote vote;
  };
  struct Dissent {
    std::string seat;
    std::string text;
  };
  bool reached = false;
  bool tied = false;
  double agreement = 0;
  double confidence = 0;
  std::string answer;
  std::string method;
  std::string leader;  // a seat; empty without a valid vote
  std::vector<std::string> supporting;
  std::vector<std::string> dissenting;
  std::vector<Ballot> ballots;
  std::vector<Dissent> dissent;
  bool agreed_without_debate = false;
  std::string judged{};  // agreed, unstable (the two verdicts differ: the majority decides); empty: nobody was asked
};
// What the judge holds for best, of proposals in one order or the other.
struct Verdict {
  std::string choice;  // a seat; empty: none, or not understood
  std::string reason;
  bool reversed = false;
};
struct DebateEnded {
  DebateStatus status = DebateStatus::Completed;
  std::string outcome;
  std::string reason;
  bool consensus_reached = false;
  double seconds = 0;
  std::int64_t rounds = 0;
  std::string config_hash{};  // as that of DebateCreated
};
// What somebody who follows the debate has to say. Before its end only.
struct AudienceMessage {
  std::string author;  // as the audit log names them
  std::string content;
};
// What was under way when the time for debating was over: what is there is voted on.
struct PhaseTimeout {
  Phase phase = Phase::Propose;
  std::string reason;
};
// A seat that said nothing in two phases running takes no part any more.
struct SeatDropped {
  std::string reason;
};
struct DebatePaused {
  std::string reason;            // operator, awaiting_quorum
  Phase phase = Phase::Propose;  // in which too few answered
  std::string detail;
};
struct DebateResumed {};
// Who changed what and why, and whether the debate changed its outcome. Whole numbers and texts only.
struct Report {
  json::object content;
};
// Who was compared with whom, and counted in the ratings in the transaction that appends it. Before the end, at most
// once.
struct MatchRecorded {
  ratings::Match match;
};
// Of a version that this one does not know: kept and shown as it is.
struct OtherEvent {
  std::string type;
  json::value payload;
};

using EventBody = std::variant<DebateCreated, DebateStarted, RoundStarted, AgentMessage, Critique, AgentError,
                               RoundEnded, Vote, Synthesis, Consensus, DebateEnded, AudienceMessage, MatchRecorded,
                               Verdict, PhaseTimeout, SeatDropped, DebatePaused, DebateResumed, Report, OtherEvent>;

struct NewEvent {
  std::int64_t round = 0;
  std::string agent;  // a seat, or empty
  EventBody body;
};

struct Event {
  std::string debate_id;
  std::int64_t seq = 0;
  std::int64_t round = 0;
  std::string agent;
  Micros at = 0;
  EventBody body;

  std::string_view type() const;
};

std::string_view typeOf(const EventBody& body);
// The type of one kind: eventName<DebateEnded>().
template <typename Kind>
std::string_view eventName() {
  return typeOf(EventBody(Kind{}));
}

json::object toPayload(const EventBody& body);
// As it stands in the debate's row, where lists take it from: what clients see.
json::object toSummary(const Consensus& consensus);
// "abstain" where nothing was chosen.
std::string shown(const Vote& vote);
double fraction(std::int64_t percent);
// Never fails: what cannot be read is an OtherEvent.
EventBody fromPayload(std::string_view type, std::string_view payload);

}  // namespace aragora::store
