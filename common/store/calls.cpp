// The part of Debates that records what providers were asked and answered.
#include "common/base/error.h"
#include "common/store/debates.h"

namespace aragora::store {

using database::Connection;
using database::Value;

namespace {
Value orNull(const std::string& text) { return text.empty() ? Value{} : Value{text}; }
}  // namespace

namespace {
bool sharesLocks(const Connection& connection) { return connection.engine() == database::Engine::Postgres; }

void insertIntent(Connection& connection, const Lease& lease, const Call& call, Picos reserved) {
  // One statement: the lease's row is locked against a takeover while the intent is written.
  const auto written = connection.execute(
      fmt::format(
          "INSERT INTO agent_calls (id, debate_id, phase, round, agent, attempt, provider, model, status, "
          "request_hash, started_at, reserved_picos) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $14 FROM "
          "debate_leases l WHERE l.debate_id = $2 AND l.instance = $12 AND l.epoch = $13{}",
          sharesLocks(connection) ? " FOR SHARE" : ""),
      {call.id, call.debate_id, std::string(name(call.phase)), call.round, call.seat, call.attempt, call.provider,
       call.model, std::string(name(CallState::Intent)), call.request_hash, nowMicros(), lease.instance, lease.epoch,
       reserved});
  if (written == 0) throw leaseLost(lease);
}

// Before the budgets: whoever takes the debate over holds the lease and comes to the budgets afterwards.
void shareLease(Connection& connection, const Lease& lease) {
  const auto held = connection.query(
      fmt::format("SELECT l.epoch FROM debate_leases l JOIN debates d ON d.id = l.debate_id WHERE l.debate_id = $1 AND "
                  "l.instance = $2 AND l.epoch = $3{}",
                  sharesLocks(connection) ? " FOR SHARE OF l FOR KEY SHARE OF d" : ""),
      {lease.debate_id, lease.instance, lease.epoch});
  if (held.empty()) throw leaseLost(lease);
}
}  // namespace

Grant Debates::recordIntent(const Lease& lease, const Call& call, const std::optional<Reservation>& reservation,
                            const BudgetCaps& caps) {
  return database_.writing([&](Connection& connection) {
    Grant grant;
    if (reservation) {
      shareLease(connection, lease);
      grant = Budgets::reserve(connection, *reservation, caps, nowMicros());
      if (grant.full) return grant;
    }
    insertIntent(connection, lease, call, grant.picos);
    return grant;
  });
}

std::vector<BudgetCrossing> Debates::recordResult(const Call& call, const std::optional<Charge>& charge) {
  return database_.writing([&](Connection& connection) {
    const auto now = nowMicros();
    connection.later(
        {"UPDATE agent_calls SET status = $2, response = $3, error = $4, model = $5, tokens_in = $6, tokens_out = $7, "
         "finished_at = $8, provider = $10, request_id = $11 WHERE id = $1 AND status = $9",
         {call.id, std::string(name(call.state)), orNull(call.response), orNull(call.error), call.model, call.tokens_in,
          call.tokens_out, now, std::string(name(CallState::Intent)), call.provider, orNull(call.request_id)}});
    if (!charge) return std::vector<BudgetCrossing>();
    auto crossed = Budgets::charge(connection, call.id, *charge, now);
    connection.later(
        {"UPDATE agent_calls SET cost_picos = (SELECT b.cost_picos FROM budget_calls b WHERE b.call_id = "
         "$1) WHERE id = $1 AND EXISTS (SELECT 1 FROM budget_calls b WHERE b.call_id = $1)",
         {call.id}});
    return crossed;
  });
}

std::vector<BudgetCrossing> Debates::giveUpIntents(const Lease& lease) {
  return database_.writing([&](Connection& connection) {
    requireHeld(connection, lease);
    const auto now = nowMicros();
    const auto given_up = connection.execute(
        "UPDATE agent_calls SET status = $2, finished_at = $3, cost_picos = reserved_picos WHERE debate_id = $1 AND "
        "status = $4",
        {lease.debate_id, std::string(name(CallState::Unknown)), now, std::string(name(CallState::Intent))});
    return given_up == 0 ? std::vector<BudgetCrossing>() : Budgets::giveUp(connection, lease.debate_id, now);
  });
}

Picos Debates::costOf(const std::string& debate_id) {
  return database_.reading([&](database::Connection& connection) {
    const auto found = Budgets::ofDebates(connection, {debate_id});
    return found.empty() ? Picos{0} : found.front().charged();
  });
}

std::vector<Call> Debates::calls(const std::string& debate_id) {
  std::vector<Call> calls;
  for (const auto& row :
       database_.query("SELECT id, debate_id, phase, round, agent, attempt, provider, model, status, request_hash, "
                       "response, error, tokens_in, tokens_out, reserved_picos, cost_picos, request_id FROM "
                       "agent_calls WHERE debate_id = $1 ORDER BY started_at, id",
                       {debate_id})) {
    const auto phase = parsePhase(row.text(2));
    const auto state = parseCallState(row.text(8));
    if (!phase || !state) continue;  // of a later version
    calls.push_back({row.text(0), row.text(1), *phase, row.integer(3), row.text(4), row.integer(5), row.text(6),
                     row.text(7), *state, row.text(9), row.text(10), row.text(11), row.integer(12), row.integer(13),
                     row.integer(14), row.integer(15), row.text(16)});
  }
  return calls;
}

}  // namespace aragora::store
