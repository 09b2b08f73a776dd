#include "common/store/budgets.h"

#include <fmt/format.h>

#include "common/base/error.h"
#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::store {

using database::Connection;
using database::Row;
using database::Value;

namespace {
constexpr Names<BudgetScope, 3> kScopes{
    {{BudgetScope::Debate, "debate"}, {BudgetScope::Account, "account"}, {BudgetScope::Day, "day"}}};
constexpr Names<ChargeState, 4> kStates{{{ChargeState::Reserved, "reserved"},
                                         {ChargeState::Settled, "settled"},
                                         {ChargeState::ChargedUnknown, "charged_unknown"},
                                         {ChargeState::Released, "released"}}};
constexpr Micros kDay = 86'400'000'000;

std::string text(ChargeState state) { return std::string(name(state)); }
Value orNull(const std::optional<Picos>& amount) { return amount ? Value{*amount} : Value{}; }

// SQLite has one writer.
std::string_view lockingRow(const Connection& connection) {
  return connection.engine() == database::Engine::Postgres ? " FOR UPDATE" : "";
}

std::vector<BudgetLine> linesOf(const std::string& debate_id, const std::string& account, std::int64_t day) {
  return {{BudgetScope::Debate, debate_id, 0}, {BudgetScope::Account, account, day}, {BudgetScope::Day, "", day}};
}

std::optional<Picos> capOf(const BudgetCaps& caps, BudgetScope scope) {
  return scope == BudgetScope::Debate ? caps.debate : scope == BudgetScope::Account ? caps.account_daily : caps.daily;
}

// What a cap's percentage comes to, rounded up. Without overflow.
Picos share(Picos cap, std::int64_t percent) { return cap / 100 * percent + (cap % 100 * percent + 99) / 100; }

std::int64_t reached(Picos charged, Picos cap) {
  std::int64_t highest = 0;
  for (const auto percent : kBudgetPercents) {
    if (charged >= share(cap, percent)) highest = percent;
  }
  return highest;
}

constexpr std::string_view kColumns =
    "scope, subject, day, cap_picos, settled_picos, unknown_picos, reserved_picos, overrun_picos, told_percent";
constexpr std::size_t kTold = 8;

Budget toBudget(const Row& row) {
  const auto scope = parseBudgetScope(row.text(0));
  if (!scope) throw Error(Code::Damaged, fmt::format("budgets: unknown scope '{}'", printable(row.text(0), 40)));
  return {{*scope, row.text(1), row.integer(2)},
          row.optionalInteger(3),
          row.integer(4),
          row.integer(5),
          row.integer(6),
          row.integer(7)};
}

// What changes in one budget.
struct Delta {
  Picos settled = 0;
  Picos unknown = 0;
  Picos reserved = 0;
  Picos overrun = 0;
};
using Deltas = std::map<BudgetLine, Delta>;  // in the order of locks

// Of a call, from one state to another.
Delta between(ChargeState before, Picos reserved, Picos cost_before, const Charge& after) {
  Delta delta;
  if (before == ChargeState::Reserved) delta.reserved -= reserved;
  if (before == ChargeState::ChargedUnknown) delta.unknown -= cost_before;
  if (after.state == ChargeState::Settled) {
    delta.settled += after.cost;
    delta.overrun += std::max<Picos>(0, after.cost - reserved);
  }
  if (after.state == ChargeState::ChargedUnknown) delta.unknown += reserved;
  return delta;
}

void add(Deltas& deltas, const BudgetLine& line, const Delta& delta) {
  auto& sum = deltas[line];
  sum.settled += delta.settled;
  sum.unknown += delta.unknown;
  sum.reserved += delta.reserved;
  sum.overrun += delta.overrun;
}

void tell(Connection& connection, const BudgetLine& line, std::int64_t percent) {
  connection.later({"UPDATE budgets SET told_percent = $4 WHERE scope = $1 AND subject = $2 AND day = $3",
                    {std::string(name(line.scope)), line.subject, line.day, percent}});
}

std::vector<BudgetCrossing> apply(Connection& connection, const Deltas& deltas, Micros now) {
  std::vector<BudgetCrossing> crossed;
  for (const auto& [line, delta] : deltas) {
    const auto rows = connection.query(
        fmt::format("UPDATE budgets SET settled_picos = settled_picos + $4, unknown_picos = unknown_picos + $5, "
                    "reserved_picos = reserved_picos + $6, overrun_picos = overrun_picos + $7, updated_at = $8 WHERE "
                    "scope = $1 AND subject = $2 AND day = $3 RETURNING {}",
                    kColumns),
        {std::string(name(line.scope)), line.subject, line.day, delta.settled, delta.unknown, delta.reserved,
         delta.overrun, now});
    if (rows.empty()) throw Error(Code::Damaged, describe(line) + " is not there", "run: aragora verify");
    const auto budget = toBudget(rows[0]);
    if (!budget.cap) continue;
    const auto percent = reached(budget.charged(), *budget.cap);
    if (percent <= rows[0].integer(kTold)) continue;
    tell(connection, line, percent);
    crossed.push_back({budget, percent});
  }
  return crossed;
}

struct Locked {
  Budget budget;
  std::int64_t told = 0;
};

// There from now on, and nobody else's until the transaction ends.
Locked lock(Connection& connection, const BudgetLine& line, Micros now) {
  const auto rows = connection.query(
      fmt::format("INSERT INTO budgets (scope, subject, day, updated_at) VALUES ($1, $2, $3, $4) ON CONFLICT (scope, "
                  "subject, day) DO UPDATE SET updated_at = excluded.updated_at RETURNING {}",
                  kColumns),
      {std::string(name(line.scope)), line.subject, line.day, now});
  return {toBudget(rows.at(0)), rows.at(0).integer(kTold)};
}

std::optional<Picos> grantedBefore(Connection& connection, const std::string& call_id) {
  const auto rows = connection.query("SELECT reserved_picos FROM budget_calls WHERE call_id = $1", {call_id});
  return rows.empty() ? std::nullopt : std::optional(rows[0].integer(0));
}

// Nothing is reserved; that the budget is used up is told once.
Grant refuse(Connection& connection, Locked& at, Picos cap, Grant grant) {
  grant.picos = 0;
  grant.full = at.budget.line;
  if (grant.later || at.told >= 100) return grant;
  at.budget.cap = cap;
  tell(connection, at.budget.line, 100);
  grant.crossed.push_back({at.budget, 100});
  return grant;
}

std::string shown(const std::string& account) { return account.empty() ? "nobody" : account; }
}  // namespace

std::string_view name(BudgetScope scope) { return nameIn(kScopes, scope); }
std::string_view name(ChargeState state) { return nameIn(kStates, state); }
std::optional<BudgetScope> parseBudgetScope(std::string_view name) { return parseIn(kScopes, name); }
std::optional<ChargeState> parseChargeState(std::string_view name) { return parseIn(kStates, name); }

std::int64_t dayOf(Micros at) { return at / kDay - (at % kDay < 0 ? 1 : 0); }
std::string dayText(std::int64_t day) { return toIso(day * kDay).substr(0, 10); }

std::string describe(const BudgetLine& line) {
  switch (line.scope) {
    case BudgetScope::Debate:
      return fmt::format("the budget of debate {}", line.subject);
    case BudgetScope::Account:
      return fmt::format("the budget of account {} on {}", shown(line.subject), dayText(line.day));
    case BudgetScope::Day:
      return fmt::format("the budget of {}", dayText(line.day));
  }
  return {};
}

Grant Budgets::reserve(Connection& connection, const Reservation& reservation, const BudgetCaps& caps, Micros now) {
  const auto day = dayOf(now);
  const auto lines = linesOf(reservation.debate_id, reservation.account, day);
  std::vector<Locked> locked;
  locked.reserve(lines.size());
  for (const auto& line : lines) locked.push_back(lock(connection, line, now));
  Grant grant;
  grant.picos = reservation.wanted;
  Locked* full = nullptr;
  for (auto& at : locked) {
    const auto cap = capOf(caps, at.budget.line.scope);
    if (!cap) continue;
    const auto left = std::max<Picos>(0, *cap - at.budget.used());
    grant.picos = std::min(grant.picos, left);
    if (left >= reservation.least) continue;
    const bool later = *cap - at.budget.charged() >= reservation.least;
    if (full != nullptr && (later || !grant.later)) continue;  // the first that is full for good
    full = &at;
    grant.left = left;
    grant.later = later;
  }
  if (full != nullptr) {
    if (const auto before = grantedBefore(connection, reservation.call_id)) return {*before, {}, 0, false, {}};
    return refuse(connection, *full, *capOf(caps, full->budget.line.scope), std::move(grant));
  }
  const auto inserted = connection.execute(
      "INSERT INTO budget_calls (call_id, debate_id, account, key_id, provider, model, agent, day, status, "
      "reserved_picos, reserved_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (call_id) DO "
      "NOTHING",
      {reservation.call_id, reservation.debate_id, reservation.account, reservation.key_id, reservation.provider,
       reservation.model, reservation.agent, day, text(ChargeState::Reserved), grant.picos, now});
  if (inserted == 0) return {grantedBefore(connection, reservation.call_id).value_or(0), {}, 0, false, {}};
  for (const auto& at : locked) {
    const auto cap = capOf(caps, at.budget.line.scope);
    // With another cap what was told of the one before does not count.
    const auto told = cap == at.budget.cap ? at.told : cap ? reached(at.budget.charged(), *cap) : 0;
    connection.later(
        {"UPDATE budgets SET reserved_picos = reserved_picos + $4, cap_picos = $5, told_percent = $6 WHERE scope = $1 "
         "AND subject = $2 AND day = $3",
         {std::string(name(at.budget.line.scope)), at.budget.line.subject, at.budget.line.day, grant.picos, orNull(cap),
          told}});
  }
  return grant;
}

std::vector<BudgetCrossing> Budgets::charge(Connection& connection, const std::string& call_id, const Charge& charge,
                                            Micros now) {
  const auto rows = connection.query(
      fmt::format(
          "SELECT status, reserved_picos, cost_picos, debate_id, account, day FROM budget_calls WHERE call_id = "
          "$1{}",
          lockingRow(connection)),
      {call_id});
  if (rows.empty()) return {};
  const auto& row = rows[0];
  const auto before = parseChargeState(row.text(0));
  const bool late = before == ChargeState::ChargedUnknown && charge.state == ChargeState::Settled;
  if (before != ChargeState::Reserved && !late) return {};
  const auto reserved = row.integer(1);
  const auto cost = charge.state == ChargeState::ChargedUnknown ? reserved : charge.cost;
  connection.later({"UPDATE budget_calls SET status = $2, cost_picos = $3, settled_at = $4 WHERE call_id = $1",
                    {call_id, text(charge.state), cost, now}});
  if (!charge.provider.empty())
    connection.later({"UPDATE budget_calls SET provider = $2, model = $3 WHERE call_id = $1",
                      {call_id, charge.provider, charge.model}});
  Deltas deltas;
  for (const auto& line : linesOf(row.text(3), row.text(4), row.integer(5)))
    add(deltas, line, between(*before, reserved, row.integer(2), charge));
  return apply(connection, deltas, now);
}

std::vector<BudgetCrossing> Budgets::giveUp(Connection& connection, const std::string& debate_id, Micros now) {
  const auto rows = connection.query(
      fmt::format("SELECT call_id, reserved_picos, account, day FROM budget_calls WHERE debate_id = $1 AND status = $2 "
                  "ORDER BY call_id{}",
                  lockingRow(connection)),
      {debate_id, text(ChargeState::Reserved)});
  Deltas deltas;
  for (const auto& row : rows) {
    connection.later(
        {"UPDATE budget_calls SET status = $2, cost_picos = reserved_picos, settled_at = $3 WHERE call_id "
         "= $1",
         {row.text(0), text(ChargeState::ChargedUnknown), now}});
    const auto delta = between(ChargeState::Reserved, row.integer(1), 0, {ChargeState::ChargedUnknown, 0});
    for (const auto& line : linesOf(debate_id, row.text(2), row.integer(3))) add(deltas, line, delta);
  }
  return apply(connection, deltas, now);
}

}  // namespace aragora::store
