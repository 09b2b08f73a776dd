#include <algorithm>

#include "common/base/version.h"
#include "daemon/api/api.h"

namespace aragora::api {

namespace {
// What the configuration says, unless their circuits say otherwise.
std::string_view agentsNow(const lifecycle::Probe& probe, const std::vector<providers::Providers::Condition>& all) {
  const auto usable = std::count_if(all.begin(), all.end(), [](const auto& one) { return one.breaker.usable(); });
  if (all.empty() || probe.agents != config::AgentsState::Available || usable == std::ssize(all))
    return name(probe.agents);
  return usable > 0 ? "degraded" : "unavailable";
}

json::object componentsOf(const lifecycle::Probe& probe, std::string_view agents) {
  return {{"database", name(probe.database)}, {"redis", name(probe.redis)}, {"agents", agents}};
}

json::object withReason(json::object body, const lifecycle::Probe& probe) {
  if (!probe.read_only.empty()) body["reason"] = "the database takes no writes: " + probe.read_only;
  if (!probe.away.empty()) body["reason"] = "the database cannot be used: " + probe.away;
  return body;
}

// Whether this process works: what liveness probes ask, and a restart does not bring a database back. That one is away
// is told by the status and by readiness.
std::string healthText(const lifecycle::Probe& probe, std::string_view agents, double uptime_seconds) {
  const auto check = [](bool good, double milliseconds) {
    return json::object{{"status", good ? "healthy" : "unhealthy"}, {"healthy", good}, {"latency_ms", milliseconds}};
  };
  return toJson(withReason(
      json::object{{"status", probe.healthy() && agents != "unavailable" ? "healthy" : "degraded"},
                   {"version", kVersion},
                   {"timestamp", toIso(nowMicros())},
                   {"uptime_seconds", uptime_seconds},
                   {"database", name(probe.database)},
                   {"redis", name(probe.redis)},
                   {"components", componentsOf(probe, agents)},
                   {"checks", json::object{{"database", check(probe.database == lifecycle::DatabaseState::Connected,
                                                              probe.database_ms)},
                                           {"agents", check(agents == "available" || agents == "degraded", 0)}}}},
      probe));
}

// Written anew for each probe and each second of uptime: it is asked for more often than anything else.
web::Response health(const Services& services) {
  struct Written {
    std::shared_ptr<const lifecycle::Probe> probe;
    std::int64_t second = -1;  // of uptime
    std::shared_ptr<const std::string> text;
  };
  thread_local Written written;
  auto probe = services.prober.latest();
  const auto uptime = services.prober.uptimeSeconds();
  const auto second = static_cast<std::int64_t>(uptime);
  if (written.probe != probe || written.second != second)
    written = {probe, second,
               std::make_shared<const std::string>(
                   healthText(*probe, agentsNow(*probe, services.providers.conditions()), uptime))};
  web::Response response;
  response.shared_body = written.text;
  return response;
}

// Providers that fail fail for every instance: this one is as good as the others.
web::Response ready(const Services& services) {
  const auto probe = services.prober.latest();
  const bool is_ready = probe->usable() && !services.prober.draining();
  const auto conditions = services.providers.conditions();
  const auto agents = agentsNow(*probe, conditions);
  json::object breakers;
  for (const auto& one : conditions)
    breakers[one.breaker.provider] = json::string(providers::name(one.breaker.circuit));
  return web::jsonResponse(withReason(json::object{{"status", is_ready ? "ready" : "not_ready"},
                                                   {"database", name(probe->database)},
                                                   {"agents", agents},
                                                   {"breakers", std::move(breakers)},
                                                   {"redis", name(probe->redis)},
                                                   {"draining", services.prober.draining()},
                                                   {"latency_ms", probe->database_ms},
                                                   {"checks", componentsOf(*probe, agents)}},
                                      *probe),
                           is_ready ? 200 : 503);
}

web::Response databaseHealth(const Services& services) {
  const auto probe = services.prober.latest();
  const bool good = probe->database == lifecycle::DatabaseState::Connected;
  return web::jsonResponse(withReason(json::object{{"status", good ? "healthy" : "unhealthy"},
                                                   {"healthy", good},
                                                   {"database", name(probe->database)},
                                                   {"latency_ms", probe->database_ms}},
                                      *probe),
                           good ? 200 : 503);
}

// Where none is configured there is nothing to be ill.
web::Response redisHealth(const Services& services) {
  const auto probe = services.prober.latest();
  const bool configured = probe->redis != lifecycle::RedisState::NotConfigured;
  const bool good = !configured || probe->redis == lifecycle::RedisState::Connected;
  return web::jsonResponse(json::object{{"status", !configured ? "not_configured"
                                                   : good      ? "healthy"
                                                               : "unhealthy"},
                                        {"healthy", good},
                                        {"configured", configured},
                                        {"redis", name(probe->redis)}},
                           good ? 200 : 503);
}

web::Response version() {
  return web::jsonResponse(json::object{
      {"name", "aragora"}, {"version", kVersion}, {"commit", kCommit}, {"api_versions", json::array{"v1", "v2"}}});
}
}  // namespace

void addHealthRoutes(web::Router& router, const Services& services) {
  const auto add = [&](const char* path, web::Handler handler, bool everywhere = true) {
    router.add({.method = "GET",
                .pattern = path,
                .handler = std::move(handler),
                .inline_handler = true,
                .counted = false,
                .everywhere = everywhere});
  };
  for (const auto* path : {"/api/health", "/api/health/detailed", "/health"})
    add(path, [&services](const web::Request&) { return health(services); });
  for (const auto* path : {"/api/health/db", "/api/health/database"})
    add(path, [&services](const web::Request&) { return databaseHealth(services); });
  add("/api/health/redis", [&services](const web::Request&) { return redisHealth(services); });
  add(
      "/api/version", [](const web::Request&) { return version(); }, false);
  for (const auto* path : {"/api/ready", "/api/readiness", "/api/health/ready", "/ready", "/readyz"})
    add(path, [&services](const web::Request&) { return ready(services); });
  for (const auto* path : {"/healthz", "/api/health/live"})
    add(path, [](const web::Request&) { return web::jsonResponse(json::object{{"status", "ok"}}); });
}

}  // namespace aragora::api
