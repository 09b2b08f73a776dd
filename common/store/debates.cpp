#include "common/store/debates.h"

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"
#include "common/store/debate_row.h"
#include "common/store/event_chain.h"
#include "common/store/id_list.h"
#include "common/store/ratings.h"
#include "common/store/receipts.h"
#include "common/store/settings.h"

namespace aragora::store {

using database::Connection;
using database::Row;
using database::Value;
using database::Values;

namespace {
Event toEvent(const Row& row) {
  return {row.text(0), row.integer(1), row.integer(3),
          row.text(4), row.integer(5), fromPayload(row.text(2), row.text(6))};
}

Value orNull(const std::string& text) { return text.empty() ? Value{} : Value{text}; }

json::array toArray(const std::vector<std::string>& texts) {
  json::array array;
  for (const auto& text : texts) array.emplace_back(text);
  return array;
}

// SQLite has one writer.
std::string_view lockingRow(const Connection& connection) {
  return connection.engine() == database::Engine::Postgres ? " FOR UPDATE" : "";
}
}  // namespace

json::object recordedOptions(const std::string& text, const std::vector<std::string>& texts) {
  auto value = tryParseJson(text).value_or(nullptr);
  auto options = value.is_object() ? std::move(value.get_object()) : json::object{};
  json::array documents;
  for (const auto& document : texts)
    documents.push_back(
        json::object{{"sha256", crypto::sha256Hex(document)}, {"bytes", static_cast<std::int64_t>(document.size())}});
  if (!documents.empty()) options["documents"] = std::move(documents);
  return options;
}

Debate toDebate(const Row& row) {
  Debate debate;
  debate.id = row.text(0);
  debate.slug = row.text(1);
  debate.task = row.text(2);
  debate.context = row.text(3);
  const auto status = parseDebateStatus(row.text(4));
  if (!status) throw Error(Code::Damaged, fmt::format("debate {}: unknown status '{}'", debate.id, row.text(4)));
  debate.status = *status;
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
  debate.owner = row.text(22);
  debate.budget = row.optionalInteger(23);
  debate.key_id = row.text(24);
  debate.protocol = row.integer(25);
  debate.options = row.text(26);
  debate.pause_requested = row.integer(27) != 0;
  return debate;
}

Debates::Debates(database::Database& database, const crypto::Keyring& keyring)
    : database_(database), key_id_(keyring.activeId()), key_(keyring.eventKey()), keyring_(keyring) {}

database::Statement Debates::insertionOf(const Event& event, const std::string& prev_hash, std::string& hash) const {
  ChainedEvent stored{event.debate_id, event.seq, std::string(event.type()),     event.round,
                      event.agent,     event.at,  toJson(toPayload(event.body)), prev_hash,
                      key_id_,         {}};
  hash = eventHash(stored, key_);
  return {
      "INSERT INTO debate_events (debate_id, seq, type, round, agent, at, payload, prev_hash, key_id, hash) VALUES "
      "($1, "
      "$2, $3, $4, $5, $6, $7, $8, $9, $10)",
      {std::move(stored.debate_id), stored.seq, std::move(stored.type), stored.round, std::move(stored.agent),
       stored.at, std::move(stored.payload), std::move(stored.prev_hash), std::move(stored.key_id), hash}};
}

std::vector<database::Statement> Debates::creationOf(const Debate& debate) const {
  std::string hash;
  const Event event{
      debate.id,
      1,
      0,
      "",
      debate.created_at,
      DebateCreated{debate.task, debate.agents, debate.rounds, debate.consensus_kind, debate.seed, debate.request_id,
                    debate.protocol, recordedOptions(debate.options, debate.documents), debate.config_hash}};
  std::vector<database::Statement> statements{
      {"INSERT INTO debates (id, slug, task, context, status, agents, rounds, consensus_kind, metadata, seed, "
       "owner_id, created_at, updated_at, last_seq, budget_picos, key_id, protocol, options, "
       "documents) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, 1, $13, $14, $15, $16, $17)",
       {debate.id, orNull(debate.slug), debate.task, debate.context, std::string(name(DebateStatus::Created)),
        toJson(toArray(debate.agents)), debate.rounds, debate.consensus_kind, debate.metadata, debate.seed,
        orNull(debate.owner), debate.created_at, debate.budget ? Value{*debate.budget} : Value{}, orNull(debate.key_id),
        debate.protocol, debate.options, toJson(toArray(debate.documents))}},
      insertionOf(event, chainStart(), hash)};
  if (debate.batch)
    statements.push_back({"INSERT INTO debate_batches (debate_id, batch_id, place) VALUES ($1, $2, $3)",
                          {debate.id, debate.batch->id, debate.batch->place}});
  return statements;
}

std::optional<Replay> Debates::takeKey(Connection& connection, const Idempotency& idempotency, Micros now) {
  const auto inserted = connection.query(
      "INSERT INTO idempotency_keys (owner, key, fingerprint, status, response, created_at) VALUES ($1, $2, $3, $4, "
      "$5, $6) ON CONFLICT (owner, key) DO NOTHING RETURNING key",
      {idempotency.owner, idempotency.key, idempotency.fingerprint, std::int64_t{200}, idempotency.response, now});
  if (!inserted.empty()) return std::nullopt;
  const auto rows = connection.query("SELECT fingerprint, response FROM idempotency_keys WHERE owner = $1 AND key = $2",
                                     {idempotency.owner, idempotency.key});
  if (rows.empty()) return takeKey(connection, idempotency, now);  // too old, and forgotten at this moment
  return Replay{rows[0].text(0), rows[0].text(1)};
}

void Debates::answerKey(Connection& connection, const Idempotency& idempotency) {
  connection.execute("UPDATE idempotency_keys SET response = $3 WHERE owner = $1 AND key = $2",
                     {idempotency.owner, idempotency.key, idempotency.response});
}

void Debates::create(const Debate& debate) { database_.writeAll(creationOf(debate)); }

std::optional<Debate> Debates::find(const std::string& id_or_slug) {
  for (const auto* column : {"id", "slug"}) {
    const auto rows =
        database_.query(fmt::format("SELECT {} FROM debates d WHERE d.{} = $1", kDebateColumns, column), {id_or_slug});
    if (!rows.empty()) return toDebate(rows[0]);
  }
  return std::nullopt;
}

std::vector<Event> Debates::events(const std::string& debate_id, std::int64_t since, std::int64_t limit) {
  std::vector<Event> events;
  for (const auto& row : database_.query("SELECT debate_id, seq, type, round, agent, at, payload FROM debate_events "
                                         "WHERE debate_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
                                         {debate_id, since, limit}))
    events.push_back(toEvent(row));
  return events;
}

std::map<std::string, std::int64_t> Debates::heads(const std::vector<std::string>& ids) {
  return database_.reading([&](Connection& connection) {
    std::map<std::string, std::int64_t> result;
    for (const auto& row : connection.query(
             fmt::format("SELECT id, last_seq FROM debates WHERE id IN ({})", listedIn(connection.engine(), "$1")),
             {join(ids, ",")}))
      result[row.text(0)] = row.integer(1);
    return result;
  });
}

std::vector<Debate> Debates::batch(const std::string& batch_id) {
  std::vector<Debate> debates;
  for (const auto& row : database_.query(
           fmt::format("SELECT {} FROM debate_batches b JOIN debates d ON d.id = b.debate_id WHERE b.batch_id = $1 "
                       "ORDER BY b.place",
                       kDebateColumns),
           {batch_id}))
    debates.push_back(toDebate(row));
  return debates;
}

std::vector<std::string> Debates::cancelRequested(const std::vector<std::string>& ids) {
  return database_.reading([&](Connection& connection) {
    std::vector<std::string> result;
    for (const auto& row :
         connection.query(fmt::format("SELECT id FROM debates WHERE cancel_requested = 1 AND id IN ({})",
                                      listedIn(connection.engine(), "$1")),
                          {join(ids, ",")}))
      result.push_back(row.text(0));
    return result;
  });
}

std::vector<std::string> Debates::pauseRequested(const std::vector<std::string>& ids) {
  return database_.reading([&](Connection& connection) {
    std::vector<std::string> result;
    for (const auto& row :
         connection.query(fmt::format("SELECT id FROM debates WHERE pause_requested = 1 AND id IN ({})",
                                      listedIn(connection.engine(), "$1")),
                          {join(ids, ",")}))
      result.push_back(row.text(0));
    return result;
  });
}

std::vector<std::string> Debates::documents(const std::string& debate_id) {
  std::vector<std::string> documents;
  const auto rows = database_.query("SELECT documents FROM debates WHERE id = $1", {debate_id});
  const auto list = rows.empty() ? std::nullopt : tryParseJson(rows[0].text(0));
  if (!list || !list->is_array()) return documents;
  for (const auto& document : list->get_array()) {
    if (document.is_string()) documents.emplace_back(document.get_string());
  }
  return documents;
}

std::optional<std::string> Debates::lockMetadata(Connection& connection, const std::string& debate_id) {
  const auto rows = connection.query(
      fmt::format("SELECT metadata FROM debates WHERE id = $1{}", lockingRow(connection)), {debate_id});
  return rows.empty() ? std::nullopt : std::optional(rows[0].text(0));
}

void Debates::setMetadata(Connection& connection, const std::string& debate_id, const std::string& metadata) {
  connection.execute("UPDATE debates SET metadata = $2, updated_at = $3 WHERE id = $1",
                     {debate_id, metadata, nowMicros()});
}

namespace {
// Nobody else changes the debate until the transaction ends.
DebateStatus lockStatus(Connection& connection, const std::string& debate_id) {
  const auto rows =
      connection.query(fmt::format("SELECT status FROM debates WHERE id = $1{}", lockingRow(connection)), {debate_id});
  if (rows.empty()) throw Error(Code::NotFound, fmt::format("Debate not found: {}", debate_id));
  const auto status = parseDebateStatus(rows[0].text(0));
  if (!status) throw Error(Code::Damaged, fmt::format("debate {}: unknown status '{}'", debate_id, rows[0].text(0)));
  return *status;
}
}  // namespace

void Debates::requestCancel(Connection& connection, const std::string& debate_id) {
  if (const auto status = lockStatus(connection, debate_id); isFinal(status))
    throw Error(Code::Conflict, fmt::format("the debate has ended as {}", name(status)));
  connection.execute("UPDATE debates SET cancel_requested = 1, updated_at = $2 WHERE id = $1",
                     {debate_id, nowMicros()});
}

void Debates::requestPause(Connection& connection, const std::string& debate_id, bool rests) {
  if (const auto status = lockStatus(connection, debate_id); isFinal(status))
    throw Error(Code::Conflict, fmt::format("the debate has ended as {}", name(status)));
  connection.execute("UPDATE debates SET pause_requested = $2, updated_at = $3 WHERE id = $1",
                     {debate_id, std::int64_t{rests ? 1 : 0}, nowMicros()});
  // What waits for others to answer is tried at once; after failures it waits as before.
  if (!rests)
    connection.execute("UPDATE debate_leases SET not_before = 0 WHERE debate_id = $1 AND failures = 0", {debate_id});
}

// Behind the last event, for whoever holds the debate's row.
std::vector<Event> Debates::extend(Connection& connection, const std::string& debate_id,
                                   const std::vector<NewEvent>& events, Micros now) const {
  const auto last = connection.query(
      "SELECT seq, hash FROM debate_events WHERE debate_id = $1 ORDER BY seq DESC LIMIT 1", {debate_id});
  std::int64_t seq = last.empty() ? 0 : last[0].integer(0);
  std::string hash = last.empty() ? chainStart() : last[0].text(1);
  std::vector<Event> written;
  for (const auto& event : events) {
    Event next{debate_id, ++seq, event.round, event.agent, now, event.body};
    const auto insertion = insertionOf(next, std::string(hash), hash);
    connection.query(insertion.sql, insertion.values);
    written.push_back(std::move(next));
  }
  return written;
}

Event Debates::addMessage(Connection& connection, const std::string& debate_id, const AudienceMessage& message) {
  if (const auto status = lockStatus(connection, debate_id); isFinal(status))
    throw Error(Code::Conflict, fmt::format("the debate has ended as {}", name(status)),
                "fork it to go on with the question");
  const auto round = connection.query("SELECT max(round) FROM debate_events WHERE debate_id = $1", {debate_id});
  const auto now = nowMicros();
  auto written = extend(connection, debate_id, {{round.at(0).integer(0), "", message}}, now);
  connection.query("UPDATE debates SET last_seq = $2, updated_at = $3 WHERE id = $1",
                   {debate_id, written.at(0).seq, now});
  return std::move(written.at(0));
}

Debates::Removed Debates::remove(Connection& connection, const std::string& debate_id) {
  return *remove(connection, debate_id, nullptr);
}

std::optional<Debates::Removed> Debates::remove(Connection& connection, const std::string& debate_id,
                                                CountedMatches* without) {
  if (const auto status = lockStatus(connection, debate_id); !isFinal(status))
    throw Error(Code::Conflict, fmt::format("the debate is {}", name(status)), "cancel it first and wait for its end");
  const auto last = connection.query(
      "SELECT seq, hash FROM debate_events WHERE debate_id = $1 ORDER BY seq DESC LIMIT 1", {debate_id});
  if (!Ratings::forgetMatch(connection, debate_id, without)) return std::nullopt;
  connection.execute(
      "INSERT INTO removed_debates (debate_id, owner_id, created_at) SELECT id, owner_id, created_at FROM "
      "debates WHERE id = $1 AND owner_id IS NOT NULL",
      {debate_id});
  connection.execute("DELETE FROM debates WHERE id = $1", {debate_id});
  countUp(connection, kDebatesRemoved);
  return last.empty() ? Removed{} : Removed{last[0].integer(0), last[0].text(1)};
}

namespace {
const MatchRecorded* recordIn(const std::vector<NewEvent>& events) {
  for (const auto& event : events) {
    if (const auto* match = std::get_if<MatchRecorded>(&event.body)) return match;
  }
  return nullptr;
}
}  // namespace

std::vector<Event> Debates::append(const Lease& lease, const std::vector<NewEvent>& events, const Summary& summary) {
  return database_.writing([&](Connection& connection) {
    requireHeld(connection, lease);
    const auto* match = recordIn(events);
    const auto now = match == nullptr ? nowMicros() : Ratings::nextPlace(connection);
    auto written = extend(connection, lease.debate_id, events, now);
    if (match != nullptr) Ratings::record(connection, lease.debate_id, match->match, now);
    const auto text = [](const std::optional<std::string>& value) { return value ? Value{*value} : Value{}; };
    connection.query(
        "UPDATE debates SET last_seq = $2, updated_at = $3, status = COALESCE($4, status), rounds_used = COALESCE($5, "
        "rounds_used), "
        "consensus_reached = COALESCE($6, consensus_reached), confidence = COALESCE($7, confidence), final_answer = "
        "COALESCE($8, final_answer), "
        "consensus = COALESCE($9, consensus), outcome = COALESCE($10, outcome), error = COALESCE($11, error), "
        "started_at = COALESCE(started_at, $12), completed_at = COALESCE(completed_at, $13) WHERE id = $1",
        {lease.debate_id, written.back().seq, now, summary.status ? Value{std::string(name(*summary.status))} : Value{},
         summary.rounds_used ? Value{*summary.rounds_used} : Value{},
         summary.consensus_reached ? Value{std::int64_t{*summary.consensus_reached ? 1 : 0}} : Value{},
         summary.confidence ? Value{*summary.confidence} : Value{}, text(summary.final_answer),
         summary.consensus ? Value{toJson(*summary.consensus)} : Value{}, text(summary.outcome), text(summary.error),
         summary.started ? Value{now} : Value{}, summary.completed ? Value{now} : Value{}});
    if (summary.completed) Receipts::issue(connection, keyring_, lease.debate_id);
    return written;
  });
}

void Debates::forgetAfterADay() {
  constexpr Micros kDay = 86'400'000'000LL;
  database_.write([&](Connection& connection) {
    connection.query("DELETE FROM idempotency_keys WHERE created_at < $1", {nowMicros() - kDay});
    connection.query("DELETE FROM removed_debates WHERE created_at < $1", {nowMicros() - kDay});
  });
}

}  // namespace aragora::store
