#include "common/audit/audit.h"
#include "common/base/text.h"
#include "common/store/settings.h"
#include "daemon/api/account_requests.h"

// The circuit breakers of the providers: what state they are in, and an administrator's hand on them.
namespace aragora::api {

namespace {
using providers::Forced;

json::value spanOrNull(providers::Span span) {
  return span.count() > 0 ? json::value(static_cast<double>(span.count()) / 1000) : nullptr;
}

json::object render(const providers::Providers::Condition& condition) {
  const auto& state = condition.breaker;
  std::uint64_t rejected = 0;
  for (const auto count : state.rejected) rejected += count;
  json::object failures;
  for (std::size_t i = 0; i < state.failures.size(); ++i)
    failures[providers::name(static_cast<providers::FailureKind>(i))] = state.failures[i];
  return {{"provider", state.provider},
          {"model", condition.model},
          {"state", providers::name(state.circuit)},
          {"forced", providers::name(state.forced)},
          {"usable", state.usable()},
          {"blocked", state.blocked.empty() ? json::value(nullptr) : json::value(state.blocked)},
          {"open_for_seconds", spanOrNull(state.open_for)},
          {"throttled_for_seconds", spanOrNull(state.throttled_for)},
          {"in_state_seconds", static_cast<double>(state.in_state.count()) / 1000},
          {"recent_failures", state.recent_failures},
          {"answers", state.answers},
          {"rejected", rejected},
          {"failures", std::move(failures)},
          {"last_latency_ms", state.last_latency ? json::value(state.last_latency->count()) : nullptr},
          {"last_failure", state.last_failure.empty() ? json::value(nullptr) : json::value(state.last_failure)},
          {"last_failure_at", state.last_failure_at > 0 ? json::value(toIso(state.last_failure_at)) : nullptr}};
}

web::Response list(const web::Request&, const Services& services) {
  auto array = breakersOf(services.providers);
  const auto total = array.size();
  return web::jsonResponse(json::object{{"breakers", std::move(array)}, {"total", total}});
}

// What is done is in the audit log before it is done, and what is held is held by whoever starts later.
void record(const web::Request& request, const Services& services, const std::string& provider,
            const std::string& action, Forced forced) {
  services.database.write([&](database::Connection& connection) {
    store::writeSetting(connection, std::string(store::kForcedCircuit) + provider,
                        forced == Forced::None ? std::nullopt : std::optional(std::string(name(forced))));
    audit::append(connection, services.keyring,
                  {request.principal.name(),
                   "breaker." + action,
                   "provider:" + provider,
                   "success",
                   request.client_address,
                   request.request_id,
                   {}});
  });
}

Forced forcedBy(const std::string& action) {
  if (action == "reset") return Forced::None;
  if (action == "force_open") return Forced::Open;
  if (action == "force_closed") return Forced::Closed;
  throw Error(Code::Validation, fmt::format("action '{}' is none", printable(action, 60)),
              "reset, force_open or force_closed");
}

web::Response change(const web::Request& request, const Services& services) {
  const auto provider = request.parameters.at("name");
  const auto action = requireText(request.jsonBody(), "action");
  auto* breaker = services.providers.breaker(provider);
  if (breaker == nullptr)
    throw Error(Code::NotFound, fmt::format("no provider '{}' is asked here", printable(provider, 60)),
                "GET /api/admin/breakers lists those that are");
  const auto forced = forcedBy(action);
  record(request, services, provider, action, forced);
  breaker->force(forced);  // Forced::None: a reset
  for (const auto& condition : services.providers.conditions()) {
    if (condition.breaker.provider == provider) return web::jsonResponse(render(condition));
  }
  throw Error(Code::NotFound, fmt::format("{} is no longer asked here", printable(provider, 60)));
}
}  // namespace

json::array breakersOf(const providers::Providers& providers) {
  json::array array;
  for (const auto& condition : providers.conditions()) array.push_back(render(condition));
  return array;
}

void addBreakerRoutes(web::Router& router, const Services& services) {
  addRoute(router, services, "GET", "/api/admin/breakers", accounts::Permission::Administer, list);
  addRoute(router, services, "POST", "/api/admin/breakers/{name}", accounts::Permission::Administer, change);
}

}  // namespace aragora::api
