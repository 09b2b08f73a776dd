// What may be spent and what was. Before a provider is asked, the most that the call can cost is reserved at the
// budgets of its debate, of its account's day and of everybody's day, at all of them or at none; afterwards what it did
// cost takes the place of that. What became of a call that nobody saw the end of is unknown: it keeps its reservation.
// So charged + reserved never exceeds a cap, whatever crashes and however many instances there are, unless a provider
// charges more than its own price list allows; that is counted as overrun, and nothing more is reserved. A day is one
// of UTC, and a call belongs to the day on which it was reserved. All functions run inside a write transaction of the
// caller's. Order of locks, against deadlocks: a debate's lease, calls, then budgets by kind, subject and day.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/money.h"
#include "common/database/database.h"

namespace aragora::store {

enum class BudgetScope { Debate, Account, Day };  // in the order in which they are locked
enum class ChargeState { Reserved, Settled, ChargedUnknown, Released };
std::string_view name(BudgetScope scope);
std::string_view name(ChargeState state);
std::optional<BudgetScope> parseBudgetScope(std::string_view name);
std::optional<ChargeState> parseChargeState(std::string_view name);

// Days since 1970-01-01, UTC.
std::int64_t dayOf(Micros at);
std::string dayText(std::int64_t day);  // "2026-11-28"

// Which budget.
struct BudgetLine {
  BudgetScope scope = BudgetScope::Debate;
  std::string subject;   // a debate, an account (empty: nobody's), or empty
  std::int64_t day = 0;  // of a debate 0
  auto operator<=>(const BudgetLine&) const = default;
};
// For people: "the budget of debate 01J…", "… of account 01H… on 2026-11-28", "… of 2026-11-28".
std::string describe(const BudgetLine& line);

struct Budget {
  BudgetLine line;
  std::optional<Picos> cap;  // in force when something was last reserved
  Picos settled = 0;
  Picos unknown = 0;   // kept for calls whose end nobody saw
  Picos reserved = 0;  // for calls on their way
  Picos overrun = 0;   // of what was settled: more than was reserved for it
  Picos charged() const { return settled + unknown; }
  Picos used() const { return settled + unknown + reserved; }
};

// nullopt: no cap.
struct BudgetCaps {
  std::optional<Picos> debate{};
  std::optional<Picos> account_daily{};
  std::optional<Picos> daily{};
  bool any() const { return debate || account_daily || daily; }
};

struct Reservation {
  std::string call_id;
  std::string debate_id;
  std::string account;  // empty: nobody's
  std::string key_id;   // the API key that the debate was created with; empty: none
  std::string provider;
  std::string model;
  std::string agent;  // as the debate names it
  Picos wanted = 0;   // the most that the call can cost
  Picos least = 0;    // with less it is not made
};

// A share of a cap that was reached and not told before: 50, 75, 90 percent of it charged, or 100: all of it, or a call
// that did not fit any more.
struct BudgetCrossing {
  Budget budget;
  std::int64_t percent = 0;
};
inline constexpr std::int64_t kBudgetPercents[] = {50, 75, 90, 100};

struct Grant {
  Picos picos = 0;                 // from `least` to `wanted`
  std::optional<BudgetLine> full;  // it does not fit here: nothing was reserved
  Picos left = 0;                  // there
  bool later = false;              // it would, were it not for calls on their way: these may cost less than reserved
  std::vector<BudgetCrossing> crossed;
};

// What became of a call. Settled has a cost; the others none.
struct Charge {
  ChargeState state = ChargeState::Released;
  Picos cost = 0;
  // Who takes the money, where that is not who was asked.
  std::string provider{};
  std::string model{};
};

class Budgets {
 public:
  // Once a call: asked again it answers what it did before.
  static Grant reserve(database::Connection& connection, const Reservation& reservation, const BudgetCaps& caps,
                       Micros now);
  // Does nothing for a call without a reservation, or whose end is known already. A cost that comes late takes the
  // place of what was kept for the unknown.
  static std::vector<BudgetCrossing> charge(database::Connection& connection, const std::string& call_id,
                                            const Charge& charge, Micros now);
  // Of a debate's calls that are on their way nobody will see the end.
  static std::vector<BudgetCrossing> giveUp(database::Connection& connection, const std::string& debate_id, Micros now);

  static std::vector<Budget> ofDay(database::Connection& connection, std::int64_t day,
                                   const std::optional<std::string>& account);
  static std::vector<Budget> ofDebates(database::Connection& connection, const std::vector<std::string>& ids);

  enum class By { Provider, Model, Agent, Account, Key };
  struct Which {
    std::int64_t from_day = 0;  // both among them
    std::int64_t to_day = INT64_MAX;
    std::optional<std::string> account{};
    std::optional<std::string> debate{};
  };
  struct Spent {
    std::string what;
    std::int64_t calls = 0;
    Picos settled = 0;
    Picos unknown = 0;
    Picos reserved = 0;
  };
  // By what `by` names, the dearest first, at most `limit`.
  static std::vector<Spent> spent(database::Connection& connection, By by, const Which& which, std::int64_t limit);
};

}  // namespace aragora::store
