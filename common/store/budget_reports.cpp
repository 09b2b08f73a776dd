// The part of Budgets that tells what was spent.
#include "common/base/text.h"
#include "common/store/budgets.h"
#include "common/store/id_list.h"

#include <fmt/format.h>

namespace aragora::store {

using database::Connection;

namespace {
constexpr std::string_view kColumns =
    "scope, subject, day, cap_picos, settled_picos, unknown_picos, reserved_picos, overrun_picos";

std::vector<Budget> toBudgets(const database::Rows& rows) {
  std::vector<Budget> budgets;
  for (const auto& row : rows) {
    const auto scope = parseBudgetScope(row.text(0));
    if (!scope) continue;  // of a later version
    budgets.push_back({{*scope, row.text(1), row.integer(2)},
                       row.optionalInteger(3),
                       row.integer(4),
                       row.integer(5),
                       row.integer(6),
                       row.integer(7)});
  }
  return budgets;
}

std::string_view columnOf(Budgets::By by) {
  switch (by) {
    case Budgets::By::Provider:
      return "provider";
    case Budgets::By::Model:
      return "model";
    case Budgets::By::Agent:
      return "agent";
    case Budgets::By::Account:
      return "account";
    case Budgets::By::Key:
      return "key_id";
  }
  return "provider";
}
}  // namespace

std::vector<Budget> Budgets::ofDay(Connection& connection, std::int64_t day,
                                   const std::optional<std::string>& account) {
  if (!account)
    return toBudgets(connection.query(
        fmt::format("SELECT {} FROM budgets WHERE day = $1 AND scope <> 'debate' ORDER BY scope DESC, settled_picos + "
                    "unknown_picos + reserved_picos DESC, subject LIMIT 1000",
                    kColumns),
        {day}));
  return toBudgets(connection.query(
      fmt::format("SELECT {} FROM budgets WHERE day = $1 AND scope = 'account' AND subject = $2", kColumns),
      {day, *account}));
}

std::vector<Budget> Budgets::ofDebates(Connection& connection, const std::vector<std::string>& ids) {
  return toBudgets(connection.query(fmt::format("SELECT {} FROM budgets WHERE scope = 'debate' AND day = 0 AND subject "
                                                "IN ({})",
                                                kColumns, listedIn(connection.engine(), "$1")),
                                    {join(ids, ",")}));
}

std::vector<Budgets::Spent> Budgets::spent(Connection& connection, By by, const Which& which, std::int64_t limit) {
  // Sums of bigint are numeric in PostgreSQL; what is beyond int64 was never let in.
  std::string where = "day >= $1 AND day <= $2";
  database::Values values{which.from_day, which.to_day, limit};
  const auto only = [&](std::string_view column, const std::optional<std::string>& value) {
    if (!value) return;
    values.emplace_back(*value);
    where += fmt::format(" AND {} = ${}", column, values.size());
  };
  only("account", which.account);
  only("debate_id", which.debate);
  std::vector<Spent> spent;
  for (const auto& row : connection.query(
           fmt::format("SELECT {0}, count(*), CAST(sum(CASE WHEN status = 'settled' THEN cost_picos ELSE 0 END) AS "
                       "bigint) AS settled, CAST(sum(CASE WHEN status = 'charged_unknown' THEN cost_picos ELSE 0 END) "
                       "AS bigint) AS unknown, CAST(sum(CASE WHEN status = 'reserved' THEN reserved_picos ELSE 0 END) "
                       "AS bigint) AS reserved FROM budget_calls WHERE {1} GROUP BY {0} ORDER BY settled DESC, {0} "
                       "LIMIT $3",
                       columnOf(by), where),
           values))
    spent.push_back({row.text(0), row.integer(1), row.integer(2), row.integer(3), row.integer(4)});
  return spent;
}

}  // namespace aragora::store
