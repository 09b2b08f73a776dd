#include "common/verify/budgets.h"

#include "common/base/money.h"
#include "common/base/text.h"
#include "common/store/budgets.h"

namespace aragora::verify {

using database::Connection;

namespace {
// What the calls make of every budget of a scope.
std::string sums(std::string_view scope, std::string_view subject, std::string_view day) {
  return fmt::format(
      "SELECT '{}' AS scope, {} AS subject, {} AS day, CAST(sum(CASE WHEN status = 'settled' THEN cost_picos ELSE 0 "
      "END) AS bigint) AS settled, CAST(sum(CASE WHEN status = 'charged_unknown' THEN cost_picos ELSE 0 END) AS "
      "bigint) AS unknown, CAST(sum(CASE WHEN status = 'reserved' THEN reserved_picos ELSE 0 END) AS bigint) AS "
      "reserved, CAST(sum(CASE WHEN status = 'settled' AND cost_picos > reserved_picos THEN cost_picos - "
      "reserved_picos ELSE 0 END) AS bigint) AS overrun FROM budget_calls GROUP BY 2, 3",
      scope, subject, day);
}

std::string wrongSum(Connection& connection) {
  const auto made = fmt::format("{} UNION ALL {} UNION ALL {}", sums("debate", "debate_id", "CAST(0 AS bigint)"),
                                sums("account", "account", "day"), sums("day", "CAST('' AS text)", "day"));
  const auto rows = connection.query(
      fmt::format(
          "SELECT b.scope, b.subject, b.day, b.settled_picos, b.unknown_picos, b.reserved_picos, b.overrun_picos, "
          "coalesce(s.settled, 0), coalesce(s.unknown, 0), coalesce(s.reserved, 0), coalesce(s.overrun, 0) FROM "
          "budgets b LEFT JOIN ({0}) s ON s.scope = b.scope AND s.subject = b.subject AND s.day = b.day WHERE "
          "b.settled_picos <> coalesce(s.settled, 0) OR b.unknown_picos <> coalesce(s.unknown, 0) OR b.reserved_picos "
          "<> coalesce(s.reserved, 0) OR b.overrun_picos <> coalesce(s.overrun, 0) ORDER BY 1, 2, 3 LIMIT 1",
          made),
      {});
  if (!rows.empty()) {
    const auto& row = rows[0];
    const auto scope = store::parseBudgetScope(row.text(0)).value_or(store::BudgetScope::Day);
    const auto all = [&](std::size_t from) {
      return fmt::format("{} settled, {} unknown, {} reserved, {} overrun", toUsd(row.integer(from)),
                         toUsd(row.integer(from + 1)), toUsd(row.integer(from + 2)), toUsd(row.integer(from + 3)));
    };
    return fmt::format("{} says {}; its calls make it {}", store::describe({scope, row.text(1), row.integer(2)}),
                       all(3), all(7));
  }
  const auto missing = connection.query(
      fmt::format("SELECT s.scope, s.subject, s.day FROM ({}) s LEFT JOIN budgets b ON b.scope = s.scope AND b.subject "
                  "= s.subject AND b.day = s.day WHERE b.scope IS NULL ORDER BY 1, 2, 3 LIMIT 1",
                  made),
      {});
  if (missing.empty()) return {};
  const auto scope = store::parseBudgetScope(missing[0].text(0)).value_or(store::BudgetScope::Day);
  return fmt::format("{} is not there, though there are calls of it",
                     store::describe({scope, missing[0].text(1), missing[0].integer(2)}));
}

// A CHECK of the schema as well; whoever wrote past that could write past anything.
std::string overCap(Connection& connection) {
  const auto rows = connection.query(
      "SELECT scope, subject, day, cap_picos, settled_picos + unknown_picos + reserved_picos FROM budgets WHERE "
      "cap_picos IS NOT NULL AND settled_picos + unknown_picos + reserved_picos > cap_picos + overrun_picos ORDER BY "
      "1, "
      "2, 3 LIMIT 1",
      {});
  if (rows.empty()) return {};
  const auto scope = store::parseBudgetScope(rows[0].text(0)).value_or(store::BudgetScope::Day);
  return fmt::format("{} has a cap of {} and {} in it", store::describe({scope, rows[0].text(1), rows[0].integer(2)}),
                     toUsd(rows[0].integer(3)), toUsd(rows[0].integer(4)));
}

std::string otherCall(Connection& connection) {
  const auto rows = connection.query(
      "SELECT b.call_id, b.status, c.status FROM budget_calls b JOIN agent_calls c ON c.id = b.call_id WHERE "
      "b.reserved_picos <> c.reserved_picos OR b.cost_picos <> c.cost_picos OR b.debate_id <> c.debate_id OR (c.status "
      "= 'intent') <> (b.status = 'reserved') ORDER BY 1 LIMIT 1",
      {});
  if (!rows.empty())
    return fmt::format("call {} is not what was billed for it (it is {}, its bill {})", rows[0].text(0),
                       rows[0].text(2), rows[0].text(1));
  const auto unbilled = connection.query(
      "SELECT c.id FROM agent_calls c LEFT JOIN budget_calls b ON b.call_id = c.id WHERE (c.reserved_picos <> 0 OR "
      "c.cost_picos <> 0) AND b.call_id IS NULL ORDER BY 1 LIMIT 1",
      {});
  return unbilled.empty() ? std::string() : fmt::format("call {} has a price and no bill", unbilled[0].text(0));
}
}  // namespace

BudgetsSeen lookAtBudgets(Connection& connection) {
  BudgetsSeen seen;
  seen.budgets = connection.query("SELECT count(*) FROM budgets", {}).at(0).integer(0);
  seen.calls = connection.query("SELECT count(*) FROM budget_calls", {}).at(0).integer(0);
  seen.overruns = connection.query("SELECT count(*) FROM budgets WHERE overrun_picos > 0", {}).at(0).integer(0);
  for (const auto& look : {wrongSum, overCap, otherCall}) {
    if (seen.wrong.empty()) seen.wrong = look(connection);
  }
  return seen;
}

}  // namespace aragora::verify
