// Debates and their events. The append-only events are the truth; the debates row is their summary for lists. Events of
// one debate form a chain (event_chain.h). Whoever runs a debate holds its lease (leases.h); an append with a stale
// epoch is refused (Error(Conflict)), so that an instance that lost its lease cannot write any more. Thread-safe.
#pragma once

#include <map>

#include "common/crypto/keyring.h"
#include "common/database/database.h"
#include "common/store/budgets.h"
#include "common/store/events.h"
#include "common/store/leases.h"

namespace aragora::store {

struct Debate {
  std::string id;
  std::string slug;
  std::string task;
  std::string context;
  DebateStatus status = DebateStatus::Created;
  std::vector<std::string> agents;
  std::int64_t rounds = 0;
  std::string consensus_kind;
  std::string metadata = "{}";  // JSON text of an object
  std::int64_t seed = 0;
  std::string owner;  // who created it, empty for nobody
  Micros created_at = 0;
  std::optional<Micros> started_at;
  std::optional<Micros> completed_at;
  bool cancel_requested = false;
  std::int64_t rounds_used = 0;
  std::optional<bool> consensus_reached;
  double confidence = 0;
  std::string final_answer;
  std::string consensus;  // JSON text of an object as clients see it, empty until decided
  std::string outcome;
  std::string error;
  std::int64_t last_seq = 0;

  struct Batch {
    std::string id;
    std::int64_t place = 0;
  };
  std::optional<Batch> batch;     // that creates it; not read back
  std::string request_id{};       // likewise; its first event has it
  std::string config_hash{};      // likewise
  std::optional<Picos> budget{};  // what its calls may cost
  std::string key_id{};           // the API key that it was created with; empty: none
  std::int64_t protocol = 1;      // the rules it goes by (daemon/debate/protocol.h)
  std::string options = "{}";     // JSON text of an object (daemon/debate/options.h)
  bool pause_requested = false;
  std::vector<std::string> documents{};  // that creates it; read back by documents()

  bool finished() const { return isFinal(status); }
};

// Changes of the summary that go with an append; unset members stay as they are.
struct Summary {
  std::optional<DebateStatus> status;
  std::optional<std::int64_t> rounds_used;
  std::optional<bool> consensus_reached;
  std::optional<double> confidence;
  std::optional<std::string> final_answer;
  std::optional<json::value> consensus;
  std::optional<std::string> outcome;
  std::optional<std::string> error;
  bool started = false;
  bool completed = false;
};

// One question to a provider.
struct Call {
  std::string id;
  std::string debate_id;
  Phase phase = Phase::Propose;
  std::int64_t round = 0;
  std::string seat;
  std::int64_t attempt = 1;
  std::string provider;
  std::string model;
  CallState state = CallState::Intent;
  std::string request_hash;
  std::string response;
  std::string error;
  std::int64_t tokens_in = 0;
  std::int64_t tokens_out = 0;
  Picos reserved = 0;
  Picos cost = 0;            // of an unknown one what was reserved
  std::string request_id{};  // the provider's; empty where it gave none
};

// The answer to an earlier POST with the same Idempotency-Key.
struct Replay {
  std::string fingerprint;
  std::string response;
};

struct CountedMatches;  // ratings.h

class Debates {
 public:
  Debates(database::Database& database, const crypto::Keyring& keyring);

  struct Idempotency {
    std::string owner;
    std::string key;
    std::string fingerprint;
    std::string response;
  };
  // Inside a write transaction of the caller's: what was stored for the key before, or nothing when it is taken now.
  static std::optional<Replay> takeKey(database::Connection& connection, const Idempotency& idempotency, Micros now);
  // What is answered from now on where the key is used again.
  static void answerKey(database::Connection& connection, const Idempotency& idempotency);
  // What creates it, its debate_created event included. For one write transaction.
  std::vector<database::Statement> creationOf(const Debate& debate) const;
  // In a transaction of its own: durable when it returns.
  void create(const Debate& debate);
  std::optional<Debate> find(const std::string& id_or_slug);
  std::vector<Event> events(const std::string& debate_id, std::int64_t since, std::int64_t limit);
  // The number of the last event of each; those that do not exist are left out.
  std::map<std::string, std::int64_t> heads(const std::vector<std::string>& ids);
  // Those whose end somebody asked for.
  std::vector<std::string> cancelRequested(const std::vector<std::string>& ids);
  // Those that somebody wants to rest.
  std::vector<std::string> pauseRequested(const std::vector<std::string>& ids);
  // What was given to it to read.
  std::vector<std::string> documents(const std::string& debate_id);
  // Inside a write transaction of the caller's. Error(NotFound | Conflict) when there is no such debate or it has
  // ended.
  static void requestCancel(database::Connection& connection, const std::string& debate_id);
  // The same; it rests, or goes on.
  static void requestPause(database::Connection& connection, const std::string& debate_id, bool rests);
  // Inside a write transaction of the caller's: nobody else changes it until its end. nullopt: there is no such debate.
  static std::optional<std::string> lockMetadata(database::Connection& connection, const std::string& debate_id);
  static void setMetadata(database::Connection& connection, const std::string& debate_id, const std::string& metadata);

  // Inside a write transaction of the caller's, of a debate that has ended: Error(NotFound | Conflict). With its events
  // and its match; the ratings are what the other matches make of them.
  struct Removed {
    std::int64_t events = 0;
    std::string last_hash;  // of its chain
  };
  // With what was counted of the ratings before, where it still holds; nothing is done and answered when it does not.
  static std::optional<Removed> remove(database::Connection& connection, const std::string& debate_id,
                                       CountedMatches* without);
  static Removed remove(database::Connection& connection, const std::string& debate_id);
  // Of a batch, in its order.
  std::vector<Debate> batch(const std::string& batch_id);
  // Inside a write transaction of the caller's, of a debate that has not ended: Error(NotFound | Conflict). Without the
  // lease; whoever runs the debate finds it there at its next append.
  Event addMessage(database::Connection& connection, const std::string& debate_id, const AudienceMessage& message);

  // A match among them is counted in the ratings, and what ends the debate writes its receipt, in the same transaction.
  std::vector<Event> append(const Lease& lease, const std::vector<NewEvent>& events, const Summary& summary = {});

  // Before the provider is asked, and after. Error(Conflict) when the lease is not held any more.
  // With what the call can cost reserved in the same transaction; where that does not fit nothing is recorded.
  Grant recordIntent(const Lease& lease, const Call& call, const std::optional<Reservation>& reservation = {},
                     const BudgetCaps& caps = {});
  // Does nothing when whoever took the debate over has given the call up, except that a cost is known after all.
  std::vector<BudgetCrossing> recordResult(const Call& call, const std::optional<Charge>& charge = {});
  // What was asked by whoever held the lease before and has no answer will not get one: unknown from now on.
  std::vector<BudgetCrossing> giveUpIntents(const Lease& lease);
  std::vector<Call> calls(const std::string& debate_id);
  // Of all of them: what was settled, and what is kept for those whose end nobody saw.
  Picos costOf(const std::string& debate_id);
  // Idempotency keys answer for a day; removed debates count for one.
  void forgetAfterADay();

 private:
  database::Statement insertionOf(const Event& event, const std::string& prev_hash, std::string& hash) const;
  std::vector<Event> extend(database::Connection& connection, const std::string& debate_id,
                            const std::vector<NewEvent>& events, Micros now) const;
  database::Database& database_;
  std::string key_id_;
  std::string key_;
  crypto::Keyring keyring_;  // for receipts
};

}  // namespace aragora::store
