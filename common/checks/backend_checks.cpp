// Checks that ask Redis and the database.
#include "common/base/text.h"
#include "common/checks/facts.h"
#include "common/checks/settings_checks.h"
#include "common/config/strength.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/deployment/deployment.h"
#include "common/redis/client.h"

namespace aragora::checks {

namespace key = config::key;

namespace {
constexpr int kOldestPostgres = 140000;

Finding unreachable(std::string message, std::string origin, std::string hint) {
  return {Level::Failure, std::move(message), std::move(origin), std::move(hint), Code::Unreachable};
}

// Throws Error(Config) when the URL cannot be read.
std::vector<Finding> examplePassword(const Context& context) {
  const auto& config = context.config;
  const auto parts = database::postgres::parseUrl(config.secret(key::kDatabaseUrl));
  const auto found = parts.find("password");
  if (!config.production() || found == parts.end()) return {};
  static const std::set<std::string> kSamples = {"password", "aragora", "postgres", "secret",
                                                 "changeme", "admin",   "example",  "test"};
  if (kSamples.count(lower(found->second)) == 0 && !config::placeholderReason(found->second)) return {};
  return {misconfigured(fmt::format("{}: the password in it is an example", config.variable(key::kDatabaseUrl)),
                        config.origin(key::kDatabaseUrl).text,
                        "give the database role a password of its own: ALTER ROLE … PASSWORD …")};
}

std::string redisVersion(redis::Client& client) {
  try {
    return "version " + client.serverInfo("redis_version");
  } catch (const Error& error) {
    if (error.code() != Code::Permission) throw;
    return "its version could not be looked at: this user may not run INFO";
  }
}

// What the daemon does there, tried. A user of its own may lack the right to it.
std::vector<Finding> whatRedisForbids(redis::Client& client, const std::string& variable, const std::string& origin) {
  const std::pair<redis::Command, std::string_view> needed[] = {
      {{"EVAL", "return redis.call('TIME')", "0"}, "limits hold for each instance alone"},
      {{"PUBLISH", "aragora:check", ""}, "instances do not hear of each other's debates for up to a second"},
      {{"SET", "aragora:check", "", "PX", "1"}, "limits hold for each instance alone"}};
  std::vector<Finding> findings;
  for (const auto& [command, consequence] : needed) {
    try {
      client.command(command);
    } catch (const Error& error) {
      if (error.code() != Code::Permission) throw;
      findings.push_back(
          warning(fmt::format("{}: this user may not run {}: {}", variable, command.front(), consequence), origin,
                  "aragora-serve(8) names what a user of Redis needs"));
    }
  }
  return findings;
}
}  // namespace

std::optional<Finding> databaseSilent(const DatabaseFacts& facts, std::string_view what) {
  if (facts.failure)
    return Finding{Level::Skipped, fmt::format("{}: not checked, the database could not be asked", what), "", "",
                   Code::Unreachable};
  if (!facts.exists) return skipped(fmt::format("{}: not checked, there is no database yet", what));
  return std::nullopt;
}

std::vector<Finding> checkRedis(const Context& context) {
  const auto& config = context.config;
  if (const auto said = alreadySaid(context, key::kRedisUrl, "Redis")) return {*said};
  if (!config.isSet(key::kRedisUrl)) {
    if (!config.sharedStateRequired()) return {skipped("Redis: not configured (not required for one instance)")};
    return {misconfigured(
        fmt::format("REDIS_URL: missing; shared state is required ({})", config.sharedStateReason()), "not set",
        "set REDIS_URL=redis://host:6379, or ARAGORA_SINGLE_INSTANCE=true when there is one daemon only")};
  }
  const auto origin = config.origin(key::kRedisUrl).text;
  redis::Address address;
  try {
    address = redis::parseUrl(config.secret(key::kRedisUrl));
  } catch (const Error& error) {
    return {misconfigured(fmt::format("{}: {}", config.variable(key::kRedisUrl), error.what()), origin, error.hint())};
  }
  try {
    redis::Client client(config.secret(key::kRedisUrl), context.timeout * 4 / 5);
    client.ping();
    auto findings = whatRedisForbids(client, config.variable(key::kRedisUrl), origin);
    findings.insert(findings.begin(),
                    ok(fmt::format("Redis: connected ({}){}", redisVersion(client), address.tls ? ", TLS" : "")));
    return findings;
  } catch (const Error& error) {
    if (config.sharedStateRequired())
      return {unreachable(fmt::format("{}: {}", config.variable(key::kRedisUrl), error.what()), origin, error.hint())};
    return {warning(fmt::format("{}: {}", config.variable(key::kRedisUrl), error.what()), origin, error.hint())};
  }
}

std::vector<Finding> checkPostgres(const Context& context) {
  const auto& config = context.config;
  if (const auto said = alreadySaid(context, key::kDatabaseUrl, "PostgreSQL")) return {*said};
  if (!config.usesPostgres()) {
    if (config.production() || config.flag(key::kDatabaseRequired)) {
      return {misconfigured("DATABASE_URL: missing; PostgreSQL is required here", "not set",
                            "set DATABASE_URL=postgresql://user:password@host:5432/name, best as DATABASE_URL_FILE")};
    }
    return {skipped(fmt::format("PostgreSQL: not configured (the embedded SQLite database {} is used)",
                                config.sqlitePath().string()))};
  }
  const auto origin = config.origin(key::kDatabaseUrl).text;
  const auto variable = config.variable(key::kDatabaseUrl);
  // Without a scheme it is libpq's other form, host=… dbname=…
  const auto url = config.secret(key::kDatabaseUrl);
  const auto scheme = url.reveal().substr(0, url.reveal().find("://"));
  if (scheme != url.reveal() && scheme != "postgresql" && scheme != "postgres")
    return {misconfigured(fmt::format("{}: the scheme is not postgresql://", variable), origin,
                          "write it as postgresql://user:password@host:5432/name")};
  std::vector<Finding> findings;
  try {
    findings = examplePassword(context);
  } catch (const Error& error) {
    return {misconfigured(fmt::format("{}: {}", variable, error.what()), origin, error.hint())};
  }
  const auto& facts = context.facts->database.get();
  if (facts.failure) {
    findings.push_back({Level::Failure, fmt::format("{}: {}", variable, facts.failure->what()), origin,
                        facts.failure->hint(),
                        facts.failure->code() == Code::Config ? Code::Config : Code::Unreachable});
  } else if (facts.version_number < kOldestPostgres) {
    findings.push_back(
        misconfigured(fmt::format("{}: the server is {}, 14 or newer is needed", variable, facts.version), origin,
                      "upgrade the server"));
  } else {
    findings.insert(findings.begin(), ok(fmt::format("PostgreSQL: connected ({})", facts.version)));
  }
  return findings;
}

std::vector<Finding> checkMigrations(const Context& context) {
  const auto& facts = context.facts->database.get();
  if (auto silent = databaseSilent(facts, "Migrations")) {
    if (!facts.exists && !context.config.production())
      return {skipped("Migrations: serve creates the embedded database at its first start")};
    return {*silent};
  }
  if (!facts.migrations->drifted.empty()) {
    return {
        misconfigured(fmt::format("Migrations: {} was applied with another content", facts.migrations->drifted[0].name),
                      "aragora_migrations", "see: aragora migrate status")};
  }
  if (!facts.migrations->unknown.empty()) {
    return {misconfigured(fmt::format("Migrations: the database has version {}, this aragora does not know it",
                                      facts.migrations->unknown.back().version),
                          "aragora_migrations", migrate::wayBack(facts.migrations->known))};
  }
  if (!facts.migrations->pending.empty()) {
    const auto message = fmt::format("Migrations: {} pending, the first is {:04}_{}", facts.migrations->pending.size(),
                                     facts.migrations->pending[0].version, facts.migrations->pending[0].name);
    if (context.config.production() || context.config.usesPostgres())
      return {misconfigured(message, "aragora_migrations", "run: aragora migrate")};
    return {ok(message + " (serve applies them outside production)")};
  }
  return {ok(fmt::format("Migrations: version {}, nothing pending", facts.migrations->version()))};
}

std::vector<Finding> checkKeyMatchesDatabase(const Context& context) {
  const auto& facts = context.facts->database.get();
  if (auto silent = databaseSilent(facts, "Key check")) return {*silent};
  if (!facts.key_check) return {skipped("Key check: no key has been used with this database yet")};
  const bool writer = !context.config.isSet(key::kEncryptionKey) && context.config.isSet(key::kBackupWriterKey);
  const auto used = writer ? key::kBackupWriterKey : key::kEncryptionKey;
  if (!context.config.isSet(used)) {
    return {misconfigured("ARAGORA_ENCRYPTION_KEY: missing, and the database was used with one", "not set",
                          fmt::format("use the key with id {}", facts.key_check->substr(0, 8)))};
  }
  try {
    const auto ring = deployment::requireBackupKeyring(context.config);
    if (ring.checkValue() == *facts.key_check) return {ok("Key check: the encryption key is the one of this database")};
    if (ring.knows(*facts.key_check))
      return {
          ok("Key check: the key of this database is among the previous ones; the next start goes on with the active")};
    return {misconfigured(fmt::format("{}: not the key this database was used with (key {}, database has {})",
                                      context.config.variable(used), ring.activeId(), facts.key_check->substr(0, 8)),
                          context.config.origin(used).text, "use the key that was in force before")};
  } catch (const Error&) {
    return {skipped("Key check: not made, the encryption key is malformed")};
  }
}

std::vector<Finding> checkPoolSize(const Context& context) {
  const auto& config = context.config;
  if (!config.usesPostgres())
    return {
        ok(fmt::format("Connection pool: {} readers of the embedded database", config.integer(key::kDatabasePool)))};
  const auto& facts = context.facts->database.get();
  if (auto silent = databaseSilent(facts, "Connection pool")) return {*silent};
  constexpr std::int64_t kReserved = 10;  // superuser_reserved_connections, commands and an operator's psql
  const auto wanted = config.integer(key::kDatabasePool) * config.integer(key::kInstanceCount);
  if (wanted + kReserved > facts.max_connections) {
    return {warning(fmt::format("Connection pool: {} × {} instances is too many for max_connections = {}",
                                counted(config.integer(key::kDatabasePool), "connection"),
                                config.integer(key::kInstanceCount), facts.max_connections),
                    config.origin(key::kDatabasePool).text,
                    "lower ARAGORA_DB_POOL_SIZE, raise max_connections, or use PgBouncer")};
  }
  return {ok(fmt::format("Connection pool: {} of {}", wanted, counted(facts.max_connections, "connection")))};
}

std::vector<Finding> checkClock(const Context& context) {
  if (!context.config.usesPostgres()) return {ok("Clock: only this machine's is used")};
  const auto& facts = context.facts->database.get();
  if (auto silent = databaseSilent(facts, "Clock")) return {*silent};
  const auto skew = facts.server_clock - facts.asked_at;
  const auto text = fmt::format("{} {} this machine's", humanDuration(std::abs(static_cast<double>(skew)) / 1e6),
                                skew > 0 ? "ahead of" : "behind");
  if (std::abs(skew) > 5'000'000)
    return {warning(fmt::format("Clock: the database server's is {}", text), "clock_timestamp()",
                    "run an NTP client on both")};
  return {ok("Clock: agrees with the database server's")};
}

}  // namespace aragora::checks
