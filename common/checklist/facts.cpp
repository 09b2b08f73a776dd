#include "common/checklist/facts.h"

#include <algorithm>

#include "common/audit/audit.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/checklist/agent_latency.h"
#include "common/deployment/deployment.h"
#include "common/drill/evidence.h"
#include "common/probe/simple.h"

namespace aragora::checklist {

namespace key = config::key;

namespace {
constexpr auto kMetricsPatience = std::chrono::seconds(3);
constexpr Micros kQuarter = 92LL * 86'400'000'000LL;
constexpr std::int64_t kShortestDigest = 40;

Piece proved(std::string text) { return {State::Proved, std::move(text)}; }
Piece failed(std::string text, std::string fix) { return {State::Failed, std::move(text), std::move(fix)}; }
Piece unseen(std::string text, std::string fix = {}) {
  return {State::CouldNotVerify, std::move(text), std::move(fix)};
}

Piece hashedKeys(database::Connection& connection) {
  const auto row = connection.query(
      "SELECT count(*), coalesce(sum(CASE WHEN digest LIKE 'ara%' OR length(digest) < $1 THEN 1 ELSE 0 END), 0) "
      "FROM api_keys",
      {kShortestDigest})[0];
  if (row.integer(1) > 0)
    return failed(counted(row.integer(1), "key") + " lies there in clear", "report this as a bug");
  return proved(fmt::format("{}, none in clear", counted(row.integer(0), "key")));
}

Piece secondFactors(database::Connection& connection) {
  const auto row = connection.query(
      "SELECT count(*), coalesce(sum(mfa_enabled), 0) FROM users WHERE role = 'admin' AND is_active = 1")[0];
  const auto admins = row.integer(0);
  const auto with = row.integer(1);
  if (admins == 0) return unseen("there is no administrator yet", "aragora user add NAME@HOST --role admin");
  const auto text = fmt::format("{} of {} have one", with, counted(admins, "administrator"));
  return with == admins ? proved(text) : failed(text, "aragora user mfa enrol, for each of the others");
}

Piece auditLog(database::Connection& connection, const std::optional<crypto::Keyring>& keyring) {
  if (!keyring) return unseen("there is no key to verify it with");
  const auto chain = audit::verifyChain(connection, *keyring);
  if (chain.first_bad)
    return failed(fmt::format("entry {}: {}", *chain.first_bad, chain.reason), "see: aragora audit verify");
  return proved(fmt::format("{}, the chain is whole", counted(chain.entries, "entry")));
}

// Where this machine's daemon shows its metrics; empty when it cannot be told.
std::string metricsUrl(const config::Config& config) {
  auto addresses = config.addresses(config.isSet(key::kMetricsListen) ? key::kMetricsListen : key::kListen);
  std::erase_if(addresses, [](const auto& one) { return one.local() || one.port == 0; });
  if (addresses.empty()) return {};
  const auto& first = addresses.front();
  const auto host = first.host == "0.0.0.0" ? "127.0.0.1" : first.host == "::" ? "[::1]" : first.host;
  return fmt::format("{}://{}:{}{}/metrics", config.speaksTls() && !first.plain ? "https" : "http", host, first.port,
                     config.text(key::kBasePath));
}
}  // namespace

Facts::Facts(const Evidence& evidence) : evidence_(evidence) {
  lookAtDatabase();
  lookAtMetrics();
  lookAtDrills();
  if (!evidence_.prometheus.empty()) alert_rules_.emplace(evidence_.prometheus);
}

// Without a Prometheus that could be asked a person has looked, or nobody has.
Piece Facts::alert(std::string_view rule) const {
  return alert_rules_ ? alert_rules_->look(rule) : Piece{State::ForAPerson, "", "name it: --prometheus URL"};
}

void Facts::lookAtDatabase() {
  constexpr Fact kAsked[] = {Fact::HashedKeys, Fact::SecondFactors, Fact::AuditLog};
  try {
    const auto target = deployment::databaseTarget(evidence_.config);
    if (target.engine == database::Engine::Sqlite && !fileExists(target.path))
      throw Error(Code::Unreachable, "there is no database yet", "run: aragora migrate");
    const auto connection = database::connect(target, database::OpenMode::ReadOnly);
    database_[Fact::HashedKeys] = hashedKeys(*connection);
    database_[Fact::SecondFactors] = secondFactors(*connection);
    database_[Fact::AuditLog] = auditLog(*connection, deployment::keyring(evidence_.config));
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    for (const auto fact : kAsked) database_.try_emplace(fact, unseen(error.what(), error.hint()));
  }
}

void Facts::lookAtMetrics() {
  const auto url = metricsUrl(evidence_.config);
  if (url.empty()) {
    metrics_trouble_ = "the daemon shows its metrics nowhere that can be asked from here";
    return;
  }
  const auto& config = evidence_.config;
  // The daemon of this machine is known by its certificate.
  const net::TlsOptions tls{.pinned = config.speaksTls() ? config.text(key::kTlsCertificate) : std::string()};
  const auto ask = [&] { return probe::fetch(url, tls, kMetricsPatience, config.secret(key::kMetricsToken)); };
  try {
    const auto reply = [&] {
      try {
        return ask();
      } catch (const Error& error) {
        if (error.code() == Code::Interrupted) throw;
        return ask();  // one answer that hangs says nothing of the next
      }
    }();
    if (reply.status == 200)
      metrics_ = "\n" + reply.body;
    else
      metrics_trouble_ = fmt::format("{} answered {}: set metrics.token", url, reply.status);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    metrics_trouble_ = fmt::format("the daemon's metrics could not be read: {}", error.what());
  }
}

void Facts::lookAtDrills() {
  try {
    const auto keyring = deployment::backupKeyring(evidence_.config);
    if (!keyring) {
      drill_trouble_ = "there is no key to read the evidence of drills with";
      return;
    }
    for (auto& kept : drill::history(evidence_.config.backupDirectory(), *keyring)) {
      if (kept.authentic) drill_ = std::move(kept.document);
    }
    if (!drill_) drill_trouble_ = "there was no drill yet";
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    drill_trouble_ = error.what();
  }
}

Piece Facts::drilled(std::string_view beginning) const {
  constexpr const char* kDrill = "run: aragora drill";
  if (!drill_) return unseen(drill_trouble_, kDrill);
  const auto at = fromIso(jsonTextOr(*drill_, "started_at", "")).value_or(0);
  const auto when = fmt::format("drill {}", jsonTextOr(*drill_, "id", "?"));
  if (nowMicros() - at > kQuarter) return {State::Failed, when + " is older than a quarter", kDrill, at};
  const auto* steps = jsonArray(*drill_, "checklist");
  for (const auto& step : steps != nullptr ? *steps : json::array{}) {
    if (!step.is_object() || !startsWith(jsonTextOr(step.get_object(), "text", ""), beginning)) continue;
    const bool ticked = jsonFlagOr(step.get_object(), "ticked", false);
    const auto text = fmt::format("{}: {}", when, jsonTextOr(step.get_object(), "text", ""));
    return {ticked ? State::Proved : State::Failed, text, ticked ? "" : "aragora drill list says what went wrong", at};
  }
  return unseen(when + " says nothing of it", kDrill);
}

Piece Facts::metrics(const std::vector<std::string_view>& names) const {
  if (!metrics_trouble_.empty())
    return unseen(metrics_trouble_, "start the daemon, and ask as a user who may read its settings");
  std::vector<std::string> shown;
  for (const auto name : names) {
    if (metrics_.find(fmt::format("\n# TYPE {} ", name)) == std::string::npos)
      return failed(fmt::format("the daemon does not expose {}", name), "use a version that does");
    shown.emplace_back(name);
  }
  return proved(join(shown, ", "));
}

Piece Facts::provider() const {
  const auto& config = evidence_.config;
  for (const auto& [setting, maker] :
       {std::pair{key::kAnthropicKey, "Anthropic"}, std::pair{key::kOpenAiKey, "OpenAI"}}) {
    if (config.isSet(setting))
      return proved(fmt::format("a key for {} is set ({})", maker, config.origin(setting).text));
  }
  return failed("there is no key for either", "set ANTHROPIC_API_KEY or OPENAI_API_KEY");
}

// A program that prints the key is how a manager of secrets is asked; of a file nobody here can tell who keeps it.
Piece Facts::secretsManager() const {
  const auto& config = evidence_.config;
  if (!config.isSet(key::kEncryptionKey))
    return failed("there is no encryption key", "set ARAGORA_ENCRYPTION_KEY_COMMAND");
  const auto origin = config.origin(key::kEncryptionKey);
  if (origin.source == config::Source::Command) return proved(fmt::format("read by a program ({})", origin.text));
  return {State::ForAPerson, fmt::format("it comes from {}: who keeps it there cannot be seen from here", origin.text),
          "set ARAGORA_ENCRYPTION_KEY_COMMAND, or confirm where it is kept"};
}

Piece Facts::tokenLifetimes() const {
  const auto hours = evidence_.config.integer(key::kAccessHours);
  const auto days = evidence_.config.integer(key::kRefreshDays);
  const auto text = fmt::format("access {}, refresh {}", counted(hours, "hour"), counted(days, "day"));
  return hours <= 24 && days <= 30
             ? proved(text)
             : failed(text, "set auth.access_token_hours to 24 and auth.refresh_token_days to 30");
}

Piece Facts::allChecks() const {
  std::size_t bad = 0;
  std::size_t unmade = 0;
  for (const auto& outcome : evidence_.checks.outcomes) {
    if (outcome.worst() == checks::Level::Failure) ++bad;
    if (outcome.worst() == checks::Level::Skipped && outcome.findings.front().code == Code::Unreachable) ++unmade;
  }
  const auto all = counted(evidence_.checks.outcomes.size(), "check");
  if (bad > 0) return failed(fmt::format("{} of {} failed", bad, all), "see: aragora validate-env");
  if (unmade > 0) return unseen(fmt::format("{} of {} could not be made", unmade, all), "see: aragora validate-env");
  return proved(fmt::format("{}, no error", all));
}

Piece Facts::look(Fact fact) const {
  const auto& config = evidence_.config;
  switch (fact) {
    case Fact::ProviderKey:
      return provider();
    case Fact::FallbackKey:
      if (config.isSet(key::kOpenRouterKey)) return proved("a key for OpenRouter is set");
      return {State::ForAPerson, "there is none: somebody decides whether debates may stop with their provider",
              "set OPENROUTER_API_KEY"};
    case Fact::PostgresUsed:
      return config.usesPostgres() ? proved("DATABASE_URL is set")
                                   : failed("the database is SQLite", "set DATABASE_URL");
    case Fact::RedisUsed:
      if (config.isSet(key::kRedisUrl)) return proved("REDIS_URL is set");
      return config.sharedStateRequired() ? failed("REDIS_URL is not set", "set REDIS_URL")
                                          : unseen("not configured: a single instance works without", "set REDIS_URL");
    case Fact::Declared:
      if (config.production() || config.flag(key::kMultiInstance))
        return proved(config.production() ? "ARAGORA_ENV is production" : "ARAGORA_MULTI_INSTANCE is true");
      return failed(fmt::format("the environment is {}, of one instance", config.text(key::kEnvironment)),
                    "set ARAGORA_ENV to production");
    case Fact::OriginsListed: {
      const auto origins = config.list(key::kAllowedOrigins);
      return origins.empty() ? failed("none is listed", "set ARAGORA_ALLOWED_ORIGINS") : proved(join(origins, ", "));
    }
    case Fact::SecretsManager:
      return secretsManager();
    case Fact::TokenLifetimes:
      return tokenLifetimes();
    case Fact::AgentLatency:
      return metrics_trouble_.empty() ? agentLatency(metrics_) : unseen(metrics_trouble_, "start the daemon");
    case Fact::AllChecks:
      return allChecks();
    case Fact::HashedKeys:
    case Fact::SecondFactors:
    case Fact::AuditLog:
      return database_.at(fact);
    case Fact::None:
      break;
  }
  return unseen("nobody looked");
}

}  // namespace aragora::checklist
