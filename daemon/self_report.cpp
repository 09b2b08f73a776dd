#include "daemon/self_report.h"

#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/version.h"
#include "common/crypto/password.h"
#include "common/deployment/config_hash.h"
#include "common/deployment/shown_settings.h"

namespace aragora::daemon {

void SelfReport::feed(metrics::Registry& registry) const {
  registry.gauge("aragora_build_info", 1, {{"version", std::string(kVersion)}, {"commit", std::string(kCommit)}});
  registry.gauge("process_start_time_seconds", static_cast<double>(started_at_) / 1e6);
  registry.onCollect([this](metrics::Registry& asked) { collect(asked); });
}

void SelfReport::collect(metrics::Registry& registry) const {
  const auto gauge = [&](const char* name, auto value) { registry.gauge(name, static_cast<double>(value)); };
  const auto shed = [&](const char* reason, std::uint64_t since) {
    registry.count("aragora_http_shed_total", {{"reason", reason}}, static_cast<double>(since));
  };
  gauge("aragora_http_connections", of_.listener.connections());
  gauge("aragora_http_connections_most", of_.listener.mostConnections());
  shed("connections", of_.listener.takeTurnedAway());
  shed("idle", of_.listener.takeGivenUp());
  shed("queue", of_.workers.takeTurnedAway());
  gauge("aragora_worker_threads", of_.workers.threads());
  gauge("aragora_worker_threads_busy", of_.workers.busy());
  gauge("aragora_worker_queue_length", of_.workers.queued());
  gauge("aragora_websocket_connections", of_.hub.clients());
  gauge("aragora_active_debates", of_.engine.active());
  gauge("aragora_active_debates_most", of_.engine.mostActive());
  gauge("aragora_memory_scarce", of_.memory_scarce.load());
  registry.countTo("aragora_auth_failures_total", static_cast<double>(of_.refusals.noted()));
  registry.count("aragora_password_hashes_total", {}, static_cast<double>(crypto::takePasswordsComputed()));
  gauge("aragora_audit_log_broken", of_.audit_watch.broken());
  if (const Micros ends = of_.certificate_ends; ends > 0)
    gauge("aragora_tls_certificate_expiry_timestamp_seconds", ends / 1'000'000);
  registry.countTo("aragora_log_dropped_total", static_cast<double>(log::dropped()));
  collectBackends(registry);
  collectProviders(registry);
  lifecycle::collectProcessMetrics(registry, of_.host);
  of_.recovery.collect(registry);
}

void SelfReport::collectBackends(metrics::Registry& registry) const {
  const auto gauge = [&](const char* name, auto value) { registry.gauge(name, static_cast<double>(value)); };
  const auto probe = of_.prober.latest();
  gauge("aragora_ready", probe->usable() && !of_.prober.draining());
  gauge("aragora_db_connected", probe->database == lifecycle::DatabaseState::Connected);
  registry.count("aragora_db_errors_total", {}, static_cast<double>(of_.database.takeFailures()));
  gauge("aragora_db_pool_size", of_.database.pool().size);
  gauge("aragora_db_pool_available", of_.database.pool().available);
  gauge("aragora_instances", of_.sisters.alive());
  const bool redis = of_.sisters.state() == redis::LinkState::Connected;
  gauge("aragora_ratelimit_fallback_active", of_.sisters.configured() && !redis);
  if (of_.sisters.configured()) gauge("aragora_redis_connected", redis);
  registry.countTo("aragora_redis_connection_errors_total", static_cast<double>(of_.sisters.connectionErrors()));
}

// All series from the start, so that the first time is an increase to whoever watches.
void SelfReport::collectProviders(metrics::Registry& registry) const {
  using providers::Circuit;
  constexpr Circuit kCircuits[] = {Circuit::Closed, Circuit::HalfOpen, Circuit::Open};
  constexpr std::string_view kProbes[] = {"answered", "failed", "neither"};
  for (const auto& condition : of_.providers.conditions()) {
    const auto& state = condition.breaker;
    const metrics::Labels own{{"provider", state.provider}};
    const auto withState = [&](const char* state_of_calls) {
      return metrics::Labels{{"provider", state.provider}, {"state", state_of_calls}};
    };
    const auto countTo = [&](const char* series, std::uint64_t total, metrics::Labels labels) {
      labels.insert(own.begin(), own.end());
      registry.countTo(series, static_cast<double>(total), labels);
    };
    registry.gauge("aragora_provider_calls", static_cast<double>(condition.calls.taken), withState("open"));
    registry.gauge("aragora_provider_calls", static_cast<double>(condition.calls.waiting), withState("waiting"));
    registry.gauge("aragora_breaker_state", static_cast<double>(state.circuit), own);
    registry.gauge("aragora_breaker_state_seconds", static_cast<double>(state.in_state.count()) / 1000, own);
    registry.gauge("aragora_breaker_blocked", state.wholly_blocked, own);
    for (const auto from : kCircuits) {
      for (const auto to : kCircuits) {
        if (from != to)
          countTo("aragora_breaker_transitions_total",
                  state.transitions.at(static_cast<std::size_t>(from)).at(static_cast<std::size_t>(to)),
                  {{"from", std::string(providers::name(from))}, {"to", std::string(providers::name(to))}});
      }
    }
    for (std::size_t i = 0; i < state.rejected.size(); ++i)
      countTo("aragora_breaker_rejected_total", state.rejected.at(i),
              {{"reason", std::string(providers::name(static_cast<providers::Refusal>(i)))}});
    for (std::size_t i = 0; i < state.probes.size(); ++i)
      countTo("aragora_breaker_probes_total", state.probes.at(i), {{"outcome", std::string(kProbes[i])}});
    for (std::size_t i = 0; i < state.failures.size(); ++i)
      countTo("aragora_provider_failures_total", state.failures.at(i),
              {{"class", std::string(providers::name(static_cast<providers::FailureKind>(i)))}});
  }
  for (const auto& one : of_.providers.substitutions())
    registry.countTo("aragora_provider_fallbacks_total", static_cast<double>(one.calls),
                     {{"from", one.from},
                      {"to", one.to},
                      {"reason", std::string(providers::name(one.reason))},
                      {"answered", one.answered ? "true" : "false"}});
}

std::string SelfReport::statusLine() const {
  return fmt::format("{}, {}, {}, database {}", of_.prober.draining() ? "draining" : "serving",
                     counted(of_.listener.connections(), "connection"), counted(of_.engine.active(), "debate"),
                     lifecycle::name(of_.prober.latest()->database));
}

std::string SelfReport::aboutMe() const {
  return toJson(json::object{{"instance", of_.instance},
                             {"version", kVersion},
                             {"started_at", toIso(started_at_)},
                             {"beat_at", toIso(nowMicros())},
                             {"draining", of_.prober.draining()},
                             {"connections", of_.listener.connections()},
                             {"websockets", of_.hub.clients()},
                             {"active_debates", of_.engine.active()}});
}

json::array SelfReport::livingInstances() const {
  json::array list;
  for (const auto& one : of_.sisters.instances()) {
    auto said = tryParseJson(one);  // whoever shares the Redis can write there
    if (said && said->is_object()) list.push_back(std::move(*said));
  }
  if (list.empty()) list.push_back(parseJson(aboutMe(), "what this instance says of itself"));
  return list;
}

std::string SelfReport::listensOn() const {
  std::vector<std::string> all;
  for (const auto& entrance : of_.listener.entrances()) {
    const auto scheme = entrance.address.local() ? "" : entrance.tls != nullptr ? "https://" : "http://";
    all.push_back(entrance.inherited >= 0 ? std::string("an inherited socket") : scheme + entrance.address.text());
  }
  return join(all, ", ");
}

json::object settingsInEffect(const config::Config& at_start, const config::Config& now) {
  json::object all;
  for (const auto& setting : config::catalogue())
    all[setting.key] = deployment::describe(setting, setting.reloadable ? now : at_start);
  return {{"config_hash", deployment::configHash(at_start, now)}, {"settings", std::move(all)}};
}

bool differs(std::string_view key, const config::Config& one, const config::Config& other) {
  return one.secret(key).reveal() != other.secret(key).reveal();
}

std::vector<std::string> appliedAtOnce(const config::Config& before, const config::Config& now) {
  std::vector<std::string> changed;
  for (const auto& setting : config::catalogue()) {
    if (setting.reloadable && differs(setting.key, before, now)) changed.emplace_back(setting.key);
  }
  return changed;
}

std::vector<std::string> needingARestart(const config::Config& at_start, const config::Config& now) {
  const auto shown = [](const std::string& text) { return text.empty() ? "not set" : printable(text, 80); };
  std::vector<std::string> changed;
  for (const auto& setting : config::catalogue()) {
    if (setting.reloadable || !differs(setting.key, at_start, now)) continue;
    changed.push_back(setting.secret ? std::string(setting.key)
                                     : fmt::format("{} ({} now, {} in the configuration)", setting.key,
                                                   shown(at_start.text(setting.key)), shown(now.text(setting.key))));
  }
  return changed;
}

}  // namespace aragora::daemon
