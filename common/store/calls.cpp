// The part of Debates that records what providers were asked and answered.
#include "common/base/error.h"
#include "common/store/debates.h"

namespace aragora::store {

using database::Connection;
using database::Value;

namespace {
Value orNull(const std::string& text) { return text.empty() ? Value{} : Value{text}; }
}  // namespace

void Debates::recordIntent(const Lease& lease, const Call& call) {
  database_.write([&](Connection& connection) {
    // One statement: the lease's row is locked against a takeover while the intent is written.
    const auto written = connection.execute(
        fmt::format(
            "INSERT INTO agent_calls (id, debate_id, phase, round, agent, attempt, provider, model, status, "
            "request_hash, started_at) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM debate_leases l "
            "WHERE l.debate_id = $2 AND l.instance = $12 AND l.epoch = $13{}",
            connection.engine() == database::Engine::Postgres ? " FOR SHARE" : ""),
        {call.id, call.debate_id, std::string(name(call.phase)), call.round, call.seat, call.attempt, call.provider,
         call.model, std::string(name(CallState::Intent)), call.request_hash, nowMicros(), lease.instance,
         lease.epoch});
    if (written == 0) throw leaseLost(lease);
  });
}

void Debates::recordResult(const Call& call) {
  database_.write([&](Connection& connection) {
    connection.query(
        "UPDATE agent_calls SET status = $2, response = $3, error = $4, model = $5, tokens_in = $6, tokens_out = $7, "
        "finished_at = $8 WHERE id = $1 AND status = $9",
        {call.id, std::string(name(call.state)), orNull(call.response), orNull(call.error), call.model, call.tokens_in,
         call.tokens_out, nowMicros(), std::string(name(CallState::Intent))});
  });
}

void Debates::giveUpIntents(const Lease& lease) {
  database_.write([&](Connection& connection) {
    requireHeld(connection, lease);
    connection.query(
        "UPDATE agent_calls SET status = $2, finished_at = $3 WHERE debate_id = $1 AND status = $4",
        {lease.debate_id, std::string(name(CallState::Unknown)), nowMicros(), std::string(name(CallState::Intent))});
  });
}

std::vector<Call> Debates::calls(const std::string& debate_id) {
  std::vector<Call> calls;
  for (const auto& row :
       database_.query("SELECT id, debate_id, phase, round, agent, attempt, provider, model, status, request_hash, "
                       "response, error, tokens_in, tokens_out FROM agent_calls WHERE debate_id = $1 ORDER BY "
                       "started_at, id",
                       {debate_id})) {
    const auto phase = parsePhase(row.text(2));
    const auto state = parseCallState(row.text(8));
    if (!phase || !state) continue;  // of a later version
    calls.push_back({row.text(0), row.text(1), *phase, row.integer(3), row.text(4), row.integer(5), row.text(6),
                     row.text(7), *state, row.text(9), row.text(10), row.text(11), row.integer(12), row.integer(13)});
  }
  return calls;
}

}  // namespace aragora::store
