// What happens in a debate, a struct a kind: what is written to its chain and what its progress is read from. Clients
// see other JSON, made from these in daemon/wire. Payloads have a version in `v`; those without one were written by the
// first version, which stored what it showed, and are still read.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "common/base/clock.h"
#include "common/store/states.h"

namespace aragora::store {

struct DebateCreated {
  std::string task;
  std::vector<std::string> agents;  // as they were asked for
  std::int64_t rounds = 0;
  std::string consensus;
  std::int64_t seed = 0;
  std::string request_id{};  // of the request that asked for it; for the log, not shown
};
struct DebateStarted {
  std::string task;
  std::vector<std::string> seats;
  std::int64_t rounds = 0;
};
struct RoundStarted {
  Phase phase = Phase::Propose;
};
enum class Role { Proposer, Reviser };
std::string_view name(Role role);
struct AgentMessage {
  Role role = Role::Proposer;
  std::string content;
};
struct Critique {
  std::string target;  // a seat
  std::string weakness;
  std::int64_t severity = 3;  // 1..5
};
struct AgentError {
  Phase phase = Phase::Propose;
  std::string message;
};
struct RoundEnded {};
struct Vote {
  std::string choice;           // a seat; empty: abstained, or not understood
  std::int64_t confidence = 0;  // 0..100
  std::string reason;
};
struct Synthesis {
  std::string content;
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
};
struct DebateEnded {
  DebateStatus status = DebateStatus::Completed;
  std::string outcome;
  std::string reason;
  bool consensus_reached = false;
  double seconds = 0;
  std::int64_t rounds = 0;
};
// What somebody who follows the debate has to say. Before its end only.
struct AudienceMessage {
  std::string author;  // as the audit log names them
  std::string content;
};
// Of a version that this one does not know: kept and shown as it is.
struct OtherEvent {
  std::string type;
  json::value payload;
};

using EventBody = std::variant<DebateCreated, DebateStarted, RoundStarted, AgentMessage, Critique, AgentError,
                               RoundEnded, Vote, Synthesis, Consensus, DebateEnded, AudienceMessage, OtherEvent>;

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
