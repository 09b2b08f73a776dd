#include "daemon/lifecycle/budget_watch.h"

#include "common/base/error.h"

namespace aragora::lifecycle {

namespace {
constexpr auto kEvery = std::chrono::seconds(10);
constexpr std::size_t kMostAccounts = 20;

std::optional<Picos> capOf(const store::BudgetCaps& caps, store::BudgetScope scope) {
  return scope == store::BudgetScope::Account ? caps.account_daily : caps.daily;
}

double ratio(Picos part, Picos cap) {
  if (cap == 0) return 1;  // nothing may be spent, and nothing is left
  return static_cast<double>(part) / static_cast<double>(cap);
}

std::size_t threshold(double part) {
  std::size_t highest = 0;
  for (const auto percent : store::kBudgetPercents) {
    if (part * 100 >= static_cast<double>(percent)) highest = static_cast<std::size_t>(percent);
  }
  return highest;
}
}  // namespace

std::optional<std::vector<store::Budget>> BudgetWatch::today() {
  const std::lock_guard lock(mutex_);
  const auto day = store::dayOf(nowMicros());
  const auto now = std::chrono::steady_clock::now();
  if (day_ == day && now - looked_at_ < kEvery) return budgets_;
  looked_at_ = now;
  day_ = day;
  budgets_.reset();
  try {
    budgets_ = database_.reading(
        [&](database::Connection& connection) { return store::Budgets::ofDay(connection, day, std::nullopt); });
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
  }
  return budgets_;
}

void BudgetWatch::collect(metrics::Registry& registry) {
  const auto caps = caps_();
  registry.forgetGauges("aragora_budget_");
  const auto dollars = [](Picos amount) { return static_cast<double>(amount) / static_cast<double>(kPicosPerUsd); };
  const auto cap = [&](const char* scope, const std::optional<Picos>& amount) {
    if (amount) registry.gauge("aragora_budget_cap_usd", dollars(*amount), {{"scope", scope}});
  };
  cap("debate", caps.debate);
  cap("account", caps.account_daily);
  cap("day", caps.daily);
  if (!caps.account_daily && !caps.daily) return;
  std::map<store::BudgetScope, double> highest;
  if (caps.account_daily) highest[store::BudgetScope::Account] = 0;
  if (caps.daily) highest[store::BudgetScope::Day] = 0;
  const auto budgets = today();
  if (!budgets) return;  // what is not known is not shown
  for (const auto& budget : *budgets) {
    const auto found = highest.find(budget.line.scope);
    if (found == highest.end()) continue;
    found->second = std::max(found->second, ratio(budget.used(), *capOf(caps, budget.line.scope)));
  }
  for (const auto& [scope, part] : highest)
    registry.gauge("aragora_budget_utilization_ratio", part, {{"scope", std::string(store::name(scope))}});
}

std::vector<notify::Problem> BudgetWatch::problems() {
  const auto caps = caps_();
  std::vector<notify::Problem> found;
  if (!caps.account_daily && !caps.daily) return found;
  const auto budgets = today();
  if (!budgets) return last_;  // nothing is over because it cannot be read
  for (const auto& budget : *budgets) {
    const auto cap = capOf(caps, budget.line.scope);
    if (!cap || found.size() > kMostAccounts) continue;
    const bool everybody = budget.line.scope == store::BudgetScope::Day;
    const auto percent = threshold(ratio(budget.charged(), *cap));
    if (percent < (everybody ? 75U : 90U)) continue;
    found.push_back(
        {everybody ? "budget:day" : "budget:account:" + budget.line.subject,
         notify::Kind::Budget,
         fmt::format("{}: {} % of {} are spent", store::describe(budget.line), percent, shownUsd(*cap)),
         {fmt::format("charged: {}, of which unknown: {}; reserved: {}", shownUsd(budget.charged()),
                      shownUsd(budget.unknown), shownUsd(budget.reserved)),
          "what does not fit is not asked any more; the next day begins at 00:00 UTC", "see: GET /api/budgets"},
         percent});
  }
  last_ = found;
  return found;
}

}  // namespace aragora::lifecycle
