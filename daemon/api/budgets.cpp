// What may be spent and what was: an administrator's view of all, everybody's of their own. Money is decimal text.
#include "common/store/budgets.h"
#include "common/base/money.h"
#include "daemon/api/debate_calls.h"

namespace aragora::api {

namespace {
using store::Budgets;

constexpr std::int64_t kMostLines = 100;

json::value amount(const std::optional<Picos>& picos) {
  return picos ? json::value(json::string(toUsd(*picos))) : json::value(nullptr);
}

std::string_view stateOf(const store::Budget& budget, const std::optional<Picos>& cap) {
  if (!cap) return "uncapped";
  if (budget.used() >= *cap) return "exhausted";
  const auto part = static_cast<double>(budget.charged()) / static_cast<double>(*cap);
  return part >= 0.9 ? "critical" : part >= 0.75 ? "warning" : "active";
}

json::object render(const store::Budget& budget, const std::optional<Picos>& cap) {
  const bool of_day = budget.line.scope != store::BudgetScope::Debate;
  json::object object{{"scope", store::name(budget.line.scope)},
                      {"subject", budget.line.subject},
                      {"day", of_day ? json::value(json::string(store::dayText(budget.line.day))) : nullptr},
                      {"cap_usd", amount(cap)},
                      {"settled_usd", toUsd(budget.settled)},
                      {"unknown_usd", toUsd(budget.unknown)},
                      {"reserved_usd", toUsd(budget.reserved)},
                      {"overrun_usd", toUsd(budget.overrun)},
                      {"left_usd", cap ? amount(std::max<Picos>(0, *cap - budget.used())) : json::value(nullptr)},
                      {"state", stateOf(budget, cap)}};
  object["utilization"] = cap && *cap > 0 ? json::value(static_cast<double>(budget.used()) / static_cast<double>(*cap))
                                          : json::value(nullptr);
  return object;
}

json::array spentBy(database::Connection& connection, Budgets::By by, const Budgets::Which& which) {
  json::array lines;
  for (const auto& line : Budgets::spent(connection, by, which, kMostLines))
    lines.push_back(json::object{{"name", line.what},
                                 {"calls", line.calls},
                                 {"settled_usd", toUsd(line.settled)},
                                 {"unknown_usd", toUsd(line.unknown)},
                                 {"reserved_usd", toUsd(line.reserved)}});
  return lines;
}

json::object spend(database::Connection& connection, const Budgets::Which& which) {
  return {{"provider", spentBy(connection, Budgets::By::Provider, which)},
          {"model", spentBy(connection, Budgets::By::Model, which)},
          {"agent", spentBy(connection, Budgets::By::Agent, which)},
          {"key", spentBy(connection, Budgets::By::Key, which)},
          {"account", spentBy(connection, Budgets::By::Account, which)}};
}

// nullopt: may see what everybody spends.
std::optional<std::string> onlyOf(const web::Request& request) {
  const auto& principal = request.principal;
  return accounts::mayChange(principal, "") ? std::nullopt : std::optional(principal.name());
}

store::Budget unused(store::BudgetScope scope, const std::string& subject, std::int64_t day) {
  store::Budget budget;
  budget.line = {scope, subject, day};
  return budget;
}

web::Response budgets(const web::Request& request, const Services& services) {
  const auto days = request.integer("days", 1, 1, 366);
  const auto today = store::dayOf(nowMicros());
  const auto only = onlyOf(request);
  const auto caps = services.spending.caps();
  const auto body = services.database.reading([&](database::Connection& connection) {
    auto found = Budgets::ofDay(connection, today, only);
    const auto scope = only ? store::BudgetScope::Account : store::BudgetScope::Day;
    if (std::none_of(found.begin(), found.end(), [&](const auto& one) { return one.line.scope == scope; }))
      found.insert(found.begin(), unused(scope, only.value_or(""), today));
    json::array lines;
    for (const auto& budget : found)
      lines.push_back(render(budget, budget.line.scope == store::BudgetScope::Day ? caps.daily : caps.account_daily));
    const auto total = lines.size();
    return json::object{{"currency", "USD"},
                        {"day", store::dayText(today)},
                        {"caps", json::object{{"debate_usd", amount(caps.debate)},
                                              {"account_daily_usd", amount(caps.account_daily)},
                                              {"daily_usd", amount(caps.daily)}}},
                        {"budgets", std::move(lines)},
                        {"total", total},
                        {"spend_days", days},
                        {"spend", spend(connection, {today - days + 1, today, only, {}})}};
  });
  return web::jsonResponse(body);
}

web::Response costs(const web::Request& request, const Services& services) {
  const auto debate = require(request, services);
  const auto body = services.database.reading([&](database::Connection& connection) {
    const auto found = Budgets::ofDebates(connection, {debate.id});
    const auto budget = found.empty() ? unused(store::BudgetScope::Debate, debate.id, 0) : found[0];
    const auto cap = found.empty() ? debate.budget : budget.cap;
    const Budgets::Which which{.debate = debate.id};
    return json::object{{"debate_id", debate.id},
                        {"currency", "USD"},
                        {"total_usd", toUsd(budget.charged())},
                        {"budget", render(budget, cap)},
                        {"by_provider", spentBy(connection, Budgets::By::Provider, which)},
                        {"by_model", spentBy(connection, Budgets::By::Model, which)},
                        {"by_agent", spentBy(connection, Budgets::By::Agent, which)}};
  });
  return web::jsonResponse(body);
}
}  // namespace

void addBudgetRoutes(web::Router& router, const Services& services) {
  router.add({.method = "GET",
              .pattern = "/api/budgets",
              .permission = accounts::Permission::ReadDebates,
              .handler = [&services](const web::Request& request) { return budgets(request, services); },
              .query = {"days"}});
  router.add({.method = "GET",
              .pattern = "/api/debates/{id}/costs",
              .permission = accounts::Permission::ReadDebates,
              .handler = [&services](const web::Request& request) { return costs(request, services); }});
}

}  // namespace aragora::api
