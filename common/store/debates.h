// Debates and their events. The append-only events are the truth; the debates row is their summary for lists. Events of
// one debate form a SHA-256 chain. Whoever runs a debate holds its lease; an append with a stale epoch is refused
// (Error(Conflict)), so that an instance that lost its lease cannot write any more. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/database/database.h"

namespace aragora::store {

struct Debate {
  std::string id;
  std::string slug;
  std::string task;
  std::string context;
  std::string status;
  std::vector<std::string> agents;
  std::int64_t rounds = 0;
  std::string consensus_kind;
  std::string metadata = "{}";  // JSON text of an object
  std::int64_t seed = 0;
  Micros created_at = 0;
  std::optional<Micros> started_at;
  std::optional<Micros> completed_at;
  bool cancel_requested = false;
  std::int64_t rounds_used = 0;
  std::optional<bool> consensus_reached;
  double confidence = 0;
  std::string final_answer;
  std::string consensus;  // JSON text of an object, empty until decided
  std::string outcome;
  std::string error;
  std::int64_t last_seq = 0;

  bool finished() const { return status == "completed" || status == "failed" || status == "cancelled"; }
};

struct Event {
  std::string debate_id;
  std::int64_t seq = 0;
  std::string type;
  std::int64_t round = 0;
  std::string agent;
  Micros at = 0;
  json::value payload;
  std::string prev_hash;
  std::string hash;
};

// SHA-256 over the length-prefixed fields and the hash before it; 64 zeros before the first.
std::string eventHash(const Event& event, std::string_view payload_text);

struct NewEvent {
  std::string type;
  std::int64_t round = 0;
  std::string agent;
  json::value payload;
};

// Changes of the summary that go with an append; unset members stay as they are.
struct Summary {
  std::optional<std::string> status;
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

struct Lease {
  std::string debate_id;
  std::string instance;
  std::int64_t epoch = 0;
};

struct Call {
  std::string id;
  std::string debate_id;
  std::string phase;
  std::int64_t round = 0;
  std::string agent;
  std::int64_t attempt = 1;
  std::string provider;
  std::string model;
  std::string status;
  std::string request_hash;
  std::string response;
  std::string error;
  std::int64_t tokens_in = 0;
  std::int64_t tokens_out = 0;
};

// The answer to an earlier POST with the same Idempotency-Key.
struct Replay {
  std::string fingerprint;
  std::string response;
};

class Debates {
 public:
  explicit Debates(database::Database& database) : database_(database) {}

  // Durable when it returns, its debate_created event included. With an idempotency key: a second create with the same
  // key does nothing and answers what was stored.
  struct Idempotency {
    std::string owner;
    std::string key;
    std::string fingerprint;
    std::string response;
  };
  std::optional<Replay> create(const Debate& debate, const std::optional<Idempotency>& idempotency = std::nullopt);
  std::optional<Debate> find(const std::string& id_or_slug);
  std::vector<Event> events(const std::string& debate_id, std::int64_t since, std::int64_t limit);
  // Inside a write transaction of the caller's. False when there is no such debate or it has ended.
  static bool requestCancel(database::Connection& connection, const std::string& debate_id);

  std::vector<Event> append(const Lease& lease, const std::vector<NewEvent>& events, const Summary& summary = {});
  // Takes or takes over the lease when it is free, expired or ours. nullopt when another instance holds it.
  std::optional<Lease> acquireLease(const std::string& debate_id, const std::string& instance,
                                    std::chrono::seconds duration);
  void releaseLease(const Lease& lease);
  bool renewLease(const Lease& lease, std::chrono::seconds duration);
  // Created or running, and nobody holds a live lease: oldest first.
  std::vector<std::string> unowned(std::int64_t limit);

  // Before the provider is asked, and after. A call with a recorded result is never made again.
  void recordIntent(const Call& call);
  void recordResult(const Call& call);
  std::vector<Call> calls(const std::string& debate_id);
  // Idempotency keys answer for a day.
  void forgetOldIdempotencyKeys();

 private:
  database::Database& database_;
};

}  // namespace aragora::store
