#include "common/store/debates.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/store/debate_row.h"

namespace aragora::store {

using database::Connection;
using database::Row;
using database::Value;
using database::Values;

namespace {
const std::string kGenesis(64, '0');
Event toEvent(const Row& row) {
  return {row.text(0),
          row.integer(1),
          row.text(2),
          row.integer(3),
          row.text(4),
          row.integer(5),
          tryParseJson(row.text(6)).value_or(nullptr),
          row.text(7),
          row.text(8)};
}

Value orNull(const std::string& text) { return text.empty() ? Value{} : Value{text}; }

// Fills in the hash.
database::Statement insertionOf(Event& event) {
  auto payload = toJson(event.payload);
  event.hash = eventHash(event, payload);
  return {
      "INSERT INTO debate_events (debate_id, seq, type, round, agent, at, payload, prev_hash, hash) VALUES ($1, $2, "
      "$3, $4, $5, $6, $7, $8, $9)",
      {event.debate_id, event.seq, event.type, event.round, event.agent, event.at, std::move(payload), event.prev_hash,
       event.hash}};
}

json::array toArray(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts) array.emplace_back(text);
  return array;
}
}  // namespace

Debate toDebate(const Row& row) {
  Debate debate;
  debate.id = row.text(0);
  debate.slug = row.text(1);
  debate.task = row.text(2);
  debate.context = row.text(3);
  debate.status = row.text(4);
  if (const auto agents = tryParseJson(row.text(5)); agents && agents->is_array()) {
    for (const auto& agent : agents->get_array()) {
      if (agent.is_string()) debate.agents.emplace_back(agent.get_string());
    }
  }
  debate.rounds = row.integer(6);
  debate.consensus_kind = row.text(7);
  debate.metadata = row.text(8);
  debate.seed = row.integer(9);
  debate.created_at = row.integer(10);
  debate.started_at = row.optionalInteger(11);
  debate.completed_at = row.optionalInteger(12);
  debate.cancel_requested = row.integer(13) != 0;
  debate.rounds_used = row.integer(14);
  if (!row.isNull(15)) debate.consensus_reached = row.integer(15) != 0;
  debate.confidence = row.number(16);
  debate.final_answer = row.text(17);
  debate.consensus = row.text(18);
  debate.outcome = row.text(19);
  debate.error = row.text(20);
  debate.last_seq = row.integer(21);
  return debate;
}

std::string eventHash(const Event& event, std::string_view payload_text) {
  std::string bytes;
  const auto add = [&bytes](std::string_view field) { bytes += fmt::format("{}:{}", field.size(), field); };
  add(event.prev_hash);
  add(event.debate_id);
  add(fmt::format("{}", event.seq));
  add(event.type);
  add(fmt::format("{}", event.round));
  add(event.agent);
  add(fmt::format("{}", event.at));
  add(payload_text);
  return crypto::sha256Hex(bytes);
}

namespace {
std::vector<database::Statement> creationOf(const Debate& debate) {
  Event event{debate.id,
              1,
              "debate_created",
              0,
              "",
              debate.created_at,
              json::object{{"task", debate.task},
                           {"agents", toArray(debate.agents)},
                           {"total_rounds", debate.rounds},
                           {"consensus", debate.consensus_kind},
                           {"seed", debate.seed}},
              kGenesis,
              {}};
  return {{"INSERT INTO debates (id, slug, task, context, status, agents, rounds, consensus_kind, metadata, seed, "
           "created_at, updated_at, last_seq) "
           "VALUES ($1, $2, $3, $4, 'created', $5, $6, $7, $8, $9, $10, $10, 1)",
           {debate.id, orNull(debate.slug), debate.task, debate.context, toJson(toArray(debate.agents)), debate.rounds,
            debate.consensus_kind, debate.metadata, debate.seed, debate.created_at}},
          insertionOf(event)};
}

// What was stored for the key before, or nothing when the key is taken now.
std::optional<Replay> takeKey(Connection& connection, const Debates::Idempotency& idempotency, Micros now) {
  const auto inserted = connection.query(
      "INSERT INTO idempotency_keys (owner, key, fingerprint, status, response, created_at) VALUES ($1, $2, $3, $4, "
      "$5, $6) ON CONFLICT (owner, key) DO NOTHING RETURNING key",
      {idempotency.owner, idempotency.key, idempotency.fingerprint, std::int64_t{200}, idempotency.response, now});
  if (!inserted.empty()) return std::nullopt;
  const auto rows = connection.query("SELECT fingerprint, response FROM idempotency_keys WHERE owner = $1 AND key = $2",
                                     {idempotency.owner, idempotency.key});
  return Replay{rows.at(0).text(0), rows.at(0).text(1)};
}
}  // namespace

std::optional<Replay> Debates::create(const Debate& debate, const std::optional<Idempotency>& idempotency) {
  const auto creation = creationOf(debate);
  if (!idempotency) {
    database_.writeAll(creation);
    return std::nullopt;
  }
  std::optional<Replay> replay;
  database_.write([&](Connection& connection) {
    replay = takeKey(connection, *idempotency, debate.created_at);
    if (replay) return;
    for (const auto& statement : creation) connection.query(statement.sql, statement.values);
  });
  return replay;
}

std::optional<Debate> Debates::find(const std::string& id_or_slug) {
  return database_.reading([&](Connection& connection) -> std::optional<Debate> {
    auto rows = connection.query(fmt::format("SELECT {} FROM debates d WHERE d.id = $1", kDebateColumns), {id_or_slug});
    if (rows.empty())
      rows = connection.query(fmt::format("SELECT {} FROM debates d WHERE d.slug = $1", kDebateColumns), {id_or_slug});
    if (rows.empty()) return std::nullopt;
    return toDebate(rows[0]);
  });
}

std::vector<Event> Debates::events(const std::string& debate_id, std::int64_t since, std::int64_t limit) {
  return database_.reading([&](Connection& connection) {
    std::vector<Event> events;
    for (const auto& row :
         connection.query("SELECT debate_id, seq, type, round, agent, at, payload, prev_hash, hash FROM debate_events "
                          "WHERE debate_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
                          {debate_id, since, limit})) {
      events.push_back(toEvent(row));
    }
    return events;
  });
}

bool Debates::requestCancel(Connection& connection, const std::string& debate_id) {
  return connection.execute(
             "UPDATE debates SET cancel_requested = 1, updated_at = $2 WHERE id = $1 AND status NOT IN ('completed', "
             "'failed', 'cancelled')",
             {debate_id, nowMicros()}) > 0;
}

std::vector<Event> Debates::append(const Lease& lease, const std::vector<NewEvent>& events, const Summary& summary) {
  return database_.writing([&](Connection& connection) {
    const auto held = connection.query("SELECT epoch FROM debate_leases WHERE debate_id = $1 AND instance = $2",
                                       {lease.debate_id, lease.instance});
    if (held.empty() || held[0].integer(0) != lease.epoch) {
      throw Error(Code::Conflict, fmt::format("the lease on debate {} went to another instance", lease.debate_id));
    }
    const auto now = nowMicros();
    const auto last = connection.query(
        "SELECT seq, hash FROM debate_events WHERE debate_id = $1 ORDER BY seq DESC LIMIT 1", {lease.debate_id});
    std::int64_t seq = last.empty() ? 0 : last[0].integer(0);
    std::string hash = last.empty() ? kGenesis : last[0].text(1);
    std::vector<Event> written;
    for (const auto& event : events) {
      Event next{lease.debate_id, ++seq, event.type, event.round, event.agent, now, event.payload, hash, {}};
      const auto insertion = insertionOf(next);
      connection.query(insertion.sql, insertion.values);
      hash = next.hash;
      written.push_back(std::move(next));
    }
    const auto text = [](const std::optional<std::string>& value) { return value ? Value{*value} : Value{}; };
    connection.query(
        "UPDATE debates SET last_seq = $2, updated_at = $3, status = COALESCE($4, status), rounds_used = COALESCE($5, "
        "rounds_used), "
        "consensus_reached = COALESCE($6, consensus_reached), confidence = COALESCE($7, confidence), final_answer = "
        "COALESCE($8, final_answer), "
        "consensus = COALESCE($9, consensus), outcome = COALESCE($10, outcome), error = COALESCE($11, error), "
        "started_at = COALESCE(started_at, $12), completed_at = COALESCE(completed_at, $13) WHERE id = $1",
        {lease.debate_id, seq, now, text(summary.status), summary.rounds_used ? Value{*summary.rounds_used} : Value{},
         summary.consensus_reached ? Value{std::int64_t{*summary.consensus_reached ? 1 : 0}} : Value{},
         summary.confidence ? Value{*summary.confidence} : Value{}, text(summary.final_answer),
         summary.consensus ? Value{toJson(*summary.consensus)} : Value{}, text(summary.outcome), text(summary.error),
         summary.started ? Value{now} : Value{}, summary.completed ? Value{now} : Value{}});
    return written;
  });
}

std::optional<Lease> Debates::acquireLease(const std::string& debate_id, const std::string& instance,
                                           std::chrono::seconds duration) {
  const auto now = nowMicros();
  return database_.writing([&](Connection& connection) -> std::optional<Lease> {
    const auto rows = connection.query(
        "INSERT INTO debate_leases (debate_id, instance, epoch, expires_at) VALUES ($1, $2, 1, $3) "
        "ON CONFLICT (debate_id) DO UPDATE SET instance = excluded.instance, epoch = debate_leases.epoch + 1, "
        "expires_at = excluded.expires_at "
        "WHERE debate_leases.expires_at < $4 OR debate_leases.instance = excluded.instance RETURNING epoch",
        {debate_id, instance, now + duration.count() * 1'000'000, now});
    if (rows.empty()) return std::nullopt;
    return Lease{debate_id, instance, rows[0].integer(0)};
  });
}

void Debates::releaseLease(const Lease& lease) {
  database_.write([&](Connection& connection) {
    connection.query("UPDATE debate_leases SET expires_at = 0 WHERE debate_id = $1 AND instance = $2 AND epoch = $3",
                     {lease.debate_id, lease.instance, lease.epoch});
  });
}

bool Debates::renewLease(const Lease& lease, std::chrono::seconds duration) {
  return database_.writing([&](Connection& connection) {
    return connection.execute(
               "UPDATE debate_leases SET expires_at = $4 WHERE debate_id = $1 AND instance = $2 AND epoch = $3",
               {lease.debate_id, lease.instance, lease.epoch, nowMicros() + duration.count() * 1'000'000}) > 0;
  });
}

std::vector<std::string> Debates::unowned(std::int64_t limit) {
  return database_.reading([&](Connection& connection) {
    std::vector<std::string> ids;
    for (const auto& row :
         connection.query("SELECT d.id FROM debates d LEFT JOIN debate_leases l ON l.debate_id = d.id "
                          "WHERE d.status IN ('created', 'pending', 'running', 'paused') AND (l.debate_id IS NULL OR "
                          "l.expires_at < $1) "
                          "ORDER BY d.created_at LIMIT $2",
                          {nowMicros(), limit})) {
      ids.push_back(row.text(0));
    }
    return ids;
  });
}

void Debates::forgetOldIdempotencyKeys() {
  constexpr Micros kDay = 86'400'000'000LL;
  database_.write([&](Connection& connection) {
    connection.query("DELETE FROM idempotency_keys WHERE created_at < $1", {nowMicros() - kDay});
  });
}

void Debates::recordIntent(const Call& call) {
  database_.write([&](Connection& connection) {
    connection.query(
        "INSERT INTO agent_calls (id, debate_id, phase, round, agent, attempt, provider, model, status, request_hash, "
        "started_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'intent', $9, $10)",
        {call.id, call.debate_id, call.phase, call.round, call.agent, call.attempt, call.provider, call.model,
         call.request_hash, nowMicros()});
  });
}

void Debates::recordResult(const Call& call) {
  database_.write([&](Connection& connection) {
    connection.query(
        "UPDATE agent_calls SET status = $2, response = $3, error = $4, model = $5, tokens_in = $6, tokens_out = $7, "
        "finished_at = $8 WHERE id = $1",
        {call.id, call.status, orNull(call.response), orNull(call.error), call.model, call.tokens_in, call.tokens_out,
         nowMicros()});
  });
}

std::vector<Call> Debates::calls(const std::string& debate_id) {
  return database_.reading([&](Connection& connection) {
    std::vector<Call> calls;
    for (const auto& row : connection.query("SELECT id, debate_id, phase, round, agent, attempt, provider, model, "
                                            "status, request_hash, response, error, tokens_in, tokens_out "
                                            "FROM agent_calls WHERE debate_id = $1 ORDER BY started_at, id",
                                            {debate_id})) {
      calls.push_back({row.text(0), row.text(1), row.text(2), row.integer(3), row.text(4), row.integer(5), row.text(6),
                       row.text(7), row.text(8), row.text(9), row.text(10), row.text(11), row.integer(12),
                       row.integer(13)});
    }
    return calls;
  });
}

}  // namespace aragora::store
