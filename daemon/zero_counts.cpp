#include "daemon/zero_counts.h"

#include <set>

#include "common/store/budgets.h"
#include "daemon/debate/provider_calls.h"
#include "daemon/web/guard.h"

namespace aragora::daemon {

void beginAtZero(metrics::Registry& registry, const web::Router& router) {
  const auto refusals = [&](std::string_view limit, std::string_view endpoint) {
    registry.count("aragora_rate_limit_hits_total",
                   {{"limit_type", std::string(limit)}, {"endpoint", std::string(endpoint)}}, 0);
  };
  for (const auto& route : router.routes()) {
    for (const int status : {200, 500, 503}) registry.requestAtZero(route.pattern, route.method, status);
    if (route.counted) refusals(web::name(web::Bucket::Address), route.pattern);
    if (route.strictly) refusals(web::name(*route.strictly), route.pattern);
    if (route.takes_credentials) refusals(web::kOfRoute, route.pattern);
  }
  refusals(web::name(web::Bucket::Address), web::kNowhere);
}

void beginAtZero(metrics::Registry& registry, const providers::Providers& providers) {
  std::set<std::string> agents;
  for (const auto& one : providers.available()) agents.insert(one.provider);
  for (const auto& one : providers.conditions()) {
    const auto& provider = one.breaker.provider;
    for (const auto state :
         {store::ChargeState::Settled, store::ChargeState::ChargedUnknown, store::ChargeState::Released})
      registry.count("aragora_budget_calls_total",
                     {{"provider", provider}, {"outcome", std::string(store::name(state))}}, 0);
    for (const auto& model : {one.model, std::string("other")})
      registry.count("aragora_spend_usd_total", {{"provider", provider}, {"model", model}}, 0);
  }
  for (const auto& agent : agents) {
    for (const auto* status : {"success", "error"})
      registry.count("aragora_agent_calls_total", {{"agent", agent}, {"status", status}}, 0);
    for (const auto type : debate::kErrorTypes)
      registry.count("aragora_agent_errors_total", {{"agent", agent}, {"error_type", std::string(type)}}, 0);
    for (const auto* direction : {"in", "out"})
      registry.count("aragora_debate_tokens_total", {{"agent", agent}, {"direction", direction}}, 0);
    registry.histogramAtZero("aragora_agent_latency_seconds", {{"agent", agent}});
  }
}

void beginAtZero(metrics::Registry& registry) {
  for (const auto* outcome : {"consensus", "no_consensus"}) {
    registry.count("aragora_debates_completed_total", {{"outcome", outcome}}, 0);
    registry.histogramAtZero("aragora_debate_duration_seconds", {{"outcome", outcome}});
    for (const auto* kind : {"majority", "supermajority", "unanimous", "weighted", "judge", "any"})
      registry.count("aragora_debates_total", {{"status", "completed"}, {"outcome", outcome}, {"consensus_type", kind}},
                     0);
  }
  for (const auto scope : {store::BudgetScope::Debate, store::BudgetScope::Account, store::BudgetScope::Day}) {
    for (const auto percent : store::kBudgetPercents)
      registry.count("aragora_budget_thresholds_total",
                     {{"scope", std::string(store::name(scope))}, {"percent", fmt::format("{}", percent)}}, 0);
  }
  for (const auto* cited : {"true", "false"}) registry.count("aragora_debate_flips_total", {{"cited", cited}}, 0);
  for (const auto* reason : {"connections", "idle", "queue", "memory"})
    registry.count("aragora_http_shed_total", {{"reason", reason}}, 0);
}

}  // namespace aragora::daemon
