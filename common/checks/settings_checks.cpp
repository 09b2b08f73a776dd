// Checks of what was configured. They look at values and origins only.
#include "common/checks/settings_checks.h"

#include <algorithm>
#include <regex>

#include "common/base/error.h"
#include "common/base/moment.h"
#include "common/base/text.h"
#include "common/config/addresses.h"
#include "common/config/catalogue.h"
#include "common/config/strength.h"
#include "common/crypto/keyring.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::checks {

namespace key = config::key;
using config::Config;

Finding ok(std::string message) { return {Level::Ok, std::move(message), {}, {}, Code::CheckFailed}; }
Finding skipped(std::string message) { return {Level::Skipped, std::move(message), {}, {}, Code::CouldNotVerify}; }
Finding warning(std::string message, std::string origin, std::string hint) {
  return {Level::Warning, std::move(message), std::move(origin), std::move(hint), Code::CheckFailed};
}
Finding misconfigured(std::string message, std::string origin, std::string hint) {
  return {Level::Failure, std::move(message), std::move(origin), std::move(hint), Code::Config};
}

namespace {
std::string originOf(const Config& config, std::string_view k) { return config.origin(k).text; }

}  // namespace

std::optional<Finding> alreadySaid(const Context& context, std::string_view k, std::string_view title) {
  const bool said = std::any_of(context.problems.begin(), context.problems.end(),
                                [&](const auto& problem) { return problem.setting == k && !problem.warning; });
  if (!said || context.config.isSet(k)) return std::nullopt;
  return skipped(fmt::format("{}: what was configured cannot be read, see Configuration", title));
}

namespace {
// What is written there and is none of them is not repeated.
bool environmentIsKnown(const Context& context) {
  return std::none_of(context.problems.begin(), context.problems.end(),
                      [](const auto& problem) { return problem.setting == key::kEnvironment && !problem.warning; });
}
}  // namespace

std::vector<Finding> checkEnvironment(const Context& context) {
  if (!environmentIsKnown(context))
    return {skipped("Environment: what was configured is none of them, see Configuration")};
  return {ok(fmt::format("Environment: {}", context.config.text(key::kEnvironment)))};
}

std::vector<Finding> checkConfiguration(const Context& context) {
  std::vector<Finding> findings;
  for (const auto& problem : context.problems) {
    auto finding =
        misconfigured(fmt::format("{}: {}", problem.variable, problem.message), problem.origin, problem.hint);
    if (problem.warning) finding.level = Level::Warning;
    findings.push_back(std::move(finding));
  }
  if (findings.empty()) findings.push_back(ok("Configuration: every value is understood"));
  return findings;
}

std::vector<Finding> checkDistributedState(const Context& context) {
  const auto reason = context.config.sharedStateReason();
  return {ok(reason.empty() ? "Shared state: not required (one instance)"
                            : fmt::format("Shared state: required ({})", reason))};
}

namespace {
Finding checkBackupWriter(const config::Config& config) {
  if (!config.resolved(key::kBackupWriterKey))
    return skipped("Encryption key: the key that writes backups comes from a program, not run (--offline)");
  try {
    const auto ring = crypto::Keyring::fromBackupWriter(config.secret(key::kBackupWriterKey));
    return ok(fmt::format("Encryption key: only the one that writes backups (key {}); nothing is read here",
                          ring.activeId()));
  } catch (const Error& error) {
    return misconfigured(fmt::format("{}: {}", config.variable(key::kBackupWriterKey), error.what()),
                         originOf(config, key::kBackupWriterKey), error.hint());
  }
}
}  // namespace

std::vector<Finding> checkEncryption(const Context& context) {
  const auto& config = context.config;
  const auto variable = config.variable(key::kEncryptionKey);
  const auto origin = originOf(config, key::kEncryptionKey);
  // Neither may cost a key that is there: what was sealed under it opens with no other. noclobber keeps a file.
  const std::string hint =
      "(set -C; umask 077; openssl rand -hex 32 >/etc/aragora/credentials/ARAGORA_ENCRYPTION_KEY), then set "
      "ARAGORA_ENCRYPTION_KEY_FILE";
  const std::string wrong =
      "put the right key there, from where its copy is kept: what was sealed under it opens with no other. Only where "
      "nothing ever was, a new one: openssl rand -hex 32";
  if (!config.isSet(key::kEncryptionKey)) {
    if (const auto said = alreadySaid(context, key::kEncryptionKey, "Encryption key")) return {*said};
    if (config.isSet(key::kBackupWriterKey)) return {checkBackupWriter(config)};
    if (config.production())
      return {misconfigured("ARAGORA_ENCRYPTION_KEY: missing; production needs it", "not set", hint)};
    return {skipped("Encryption key: not configured (serve generates one outside production)")};
  }
  if (!config.resolved(key::kEncryptionKey))
    return {skipped("Encryption key: comes from a program, not run (--offline)")};
  const auto secret = config.secret(key::kEncryptionKey);
  if (const auto reason = config::placeholderReason(secret.reveal()))
    return {misconfigured(fmt::format("{}: {}", variable, *reason), origin, wrong)};
  const auto bytes = fromHex(secret.reveal());
  if (!bytes || bytes->size() != 32) {
    const bool all_hex = secret.reveal().find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
    return {
        misconfigured(fmt::format("{}: {}{}; it must be exactly 64 hex digits (32 bytes)", variable,
                                  counted(secret.size(), "character"), all_hex ? "" : ", not all of them hex digits"),
                      origin, wrong)};
  }
  if (config::estimateBits(secret.reveal()) < config::kMinimumSecretBits)
    return {misconfigured(fmt::format("{}: 64 hex digits, but too predictable", variable), origin, wrong)};
  std::vector<Finding> findings{ok("Encryption key: configured (32 bytes)")};
  for (const auto& previous : config.list(key::kPreviousKeys)) {
    const auto decoded = fromHex(previous);
    if (!decoded || decoded->size() != 32)
      findings.push_back(misconfigured(config.variable(key::kPreviousKeys) + ": one of them is not 64 hex digits",
                                       originOf(config, key::kPreviousKeys), "separate keys with commas"));
  }
  return findings;
}

std::vector<Finding> checkJwtSecret(const Context& context) {
  const auto& config = context.config;
  const std::string hint = "generate one: openssl rand -hex 32";
  if (const auto said = alreadySaid(context, key::kJwtSecret, "JWT secret")) return {*said};
  if (!config.isSet(key::kJwtSecret)) {
    if (config.production()) return {misconfigured("JWT_SECRET: missing; production needs it", "not set", hint)};
    return {skipped("JWT secret: not configured (serve generates one outside production)")};
  }
  if (!config.resolved(key::kJwtSecret)) return {skipped("JWT secret: comes from a program, not run (--offline)")};
  if (const auto weakness = config::weaknessOf(config.secret(key::kJwtSecret).reveal())) {
    return {misconfigured(fmt::format("{}: {}", config.variable(key::kJwtSecret), *weakness),
                          originOf(config, key::kJwtSecret), hint)};
  }
  std::vector<Finding> findings{
      ok(fmt::format("JWT secret: configured ({})", counted(config.secret(key::kJwtSecret).size(), "character")))};
  if (!config.isSet(key::kJwtPrevious) || !config.resolved(key::kJwtPrevious)) return findings;
  const auto previous = config.variable(key::kJwtPrevious);
  if (const auto weakness = config::weaknessOf(config.secret(key::kJwtPrevious).reveal()))
    findings.push_back(misconfigured(fmt::format("{}: {}", previous, *weakness), originOf(config, key::kJwtPrevious),
                                     "leave it out: whoever guesses it forges access tokens"));
  else if (config.secret(key::kJwtPrevious) == config.secret(key::kJwtSecret))
    findings.push_back(misconfigured(fmt::format("{}: the same as {}", previous, config.variable(key::kJwtSecret)),
                                     originOf(config, key::kJwtPrevious),
                                     "put the new secret into JWT_SECRET: openssl rand -hex 32"));
  else
    findings.push_back(
        warning(fmt::format("{}: tokens of the previous secret are good until they expire", previous),
                originOf(config, key::kJwtPrevious),
                fmt::format("take it away {} after JWT_SECRET was changed, and restart: none lives longer",
                            counted(config.integer(key::kAccessHours), "hour"))));
  return findings;
}

namespace {
std::string listening(const config::Config& config) {
  std::vector<std::string> all;
  for (const auto& address : config.addresses(key::kListen)) all.push_back(address.text());
  return join(all, ", ");
}
}  // namespace

// Who answers for a request. Where anybody can reach the port there must be something to log in with.
std::vector<Finding> checkAccess(const Context& context) {
  const auto& config = context.config;
  const bool token = config.isSet(key::kApiToken);
  const auto jwt = config.origin(key::kJwtSecret).source;
  const bool accounts = config.isSet(key::kJwtSecret) && jwt != config::Source::Generated;
  if (token || accounts)
    return {ok(fmt::format("Access: {}", token && accounts ? "API token and accounts"
                                         : token           ? "API token"
                                                           : "accounts"))};
  if (config.anonymousAllowed()) return {ok("Access: anonymous, from this machine only (development)")};
  if (config.production()) return {skipped("Access: no credentials yet, see the JWT secret")};
  return {misconfigured(
      fmt::format("Access: {} on {} needs credentials, and {} is not set",
                  environmentIsKnown(context) ? config.text(key::kEnvironment) : "an unknown environment",
                  listening(config), config.variable(key::kApiToken)),
      "not set", "set ARAGORA_API_TOKEN (openssl rand -hex 32) or JWT_SECRET, or bind development to 127.0.0.1")};
}

std::vector<Finding> checkOrigins(const Context& context) {
  const auto& config = context.config;
  const auto origin = originOf(config, key::kAllowedOrigins);
  const auto origins = config.list(key::kAllowedOrigins);
  const std::string hint = "list each origin exactly, such as ARAGORA_ALLOWED_ORIGINS=https://aragora.example.org";
  if (origins.empty()) {
    if (config.production())
      return {misconfigured("ARAGORA_ALLOWED_ORIGINS: empty; production needs the exact list", "not set", hint)};
    return {ok("Allowed origins: loopback only (development default)")};
  }
  const auto variable = config.variable(key::kAllowedOrigins);
  std::vector<Finding> findings;
  for (const auto& text : origins) {
    if (config::canonicalOrigin(text) != text) continue;  // the configuration check says so
    const auto host = text.substr(text.find("://") + 3);
    if (!config.production()) continue;
    const auto name = startsWith(host, "[") ? host.substr(0, host.find(']') + 1) : host.substr(0, host.find(':'));
    if (config::loopbackHost(name) || endsWith(name, ".localhost")) {  // as browsers see it
      findings.push_back(warning(fmt::format("{}: '{}' is a development origin", variable, text), origin, "remove it"));
    } else if (startsWith(text, "http://")) {
      findings.push_back(misconfigured(fmt::format("{}: '{}' is not https", variable, text), origin, "use https://"));
    }
  }
  if (findings.empty()) findings.push_back(ok(fmt::format("Allowed origins: {}", join(origins, ", "))));
  return findings;
}

namespace {
// What people are told leads to the URL. A proxy may take a path away or put one before.
std::optional<Finding> pathOfPublicUrl(const Config& config) {
  const auto url = config.text(key::kPublicUrl);
  if (url.empty() || url.find("://") == std::string::npos) return std::nullopt;
  const auto slash = url.find('/', url.find("://") + 3);
  auto path = slash == std::string::npos ? std::string() : url.substr(slash);
  while (endsWith(path, "/")) path.pop_back();
  const auto base = config.text(key::kBasePath);
  if (path == base) return std::nullopt;
  return warning(fmt::format("{}: its path is {}, and everything is served below {}", config.variable(key::kPublicUrl),
                             path.empty() ? "/" : path, base.empty() ? "/" : base),
                 config.origin(key::kPublicUrl).text,
                 base.empty() ? fmt::format("ARAGORA_BASE_PATH={}, unless a proxy takes that path away", path)
                              : fmt::format("end it with {}, unless a proxy puts that before", base));
}
}  // namespace

std::vector<Finding> checkHttps(const Context& context) {
  const auto& config = context.config;
  std::vector<Finding> findings;
  if (const auto url = config.text(key::kPublicUrl); config.production() && startsWith(url, "http://")) {
    const auto end = url.find_first_of(":/", url.compare(7, 1, "[") == 0 ? std::min(url.find(']'), url.size()) : 7);
    if (!config::loopbackHost(url.substr(7, end - 7)))
      findings.push_back(misconfigured(config.variable(key::kPublicUrl) + ": the public URL is not https",
                                       originOf(config, key::kPublicUrl), "use https://"));
  }
  if (auto finding = pathOfPublicUrl(config)) findings.push_back(std::move(*finding));
  const bool certificate = config.isSet(key::kTlsCertificate);
  if (certificate != config.isSet(key::kTlsKey)) {
    findings.push_back(misconfigured("TLS: only one of certificate and key is configured",
                                     originOf(config, certificate ? key::kTlsCertificate : key::kTlsKey),
                                     "set ARAGORA_TLS_CERT_PATH and ARAGORA_TLS_KEY_PATH both"));
  }
  std::vector<std::string> open;  // everybody reaches them, and they speak HTTP
  for (const auto& address : config.addresses(key::kListen)) {
    if (!address.loopback() && (address.plain || !config.speaksTls())) open.push_back(address.text());
  }
  if (config.production() && !config.flag(key::kBehindProxy) && !open.empty()) {
    const auto k = config.isSet(key::kListen) ? key::kListen : key::kBindHost;
    findings.push_back(
        warning(fmt::format("HTTPS: listens on {} without TLS, and no proxy is declared", join(open, ", ")),
                originOf(config, k),
                "set ARAGORA_TLS_CERT_PATH and ARAGORA_TLS_KEY_PATH, or put a TLS proxy in front and set "
                "ARAGORA_BEHIND_PROXY=true, or bind to 127.0.0.1"));
  }
  if (findings.empty())
    findings.push_back(ok(config.speaksTls() ? "HTTPS: TLS is spoken here"
                          : open.empty()     ? "HTTPS: reached through loopback only"
                                             : "HTTPS: a trusted proxy terminates TLS"));
  return findings;
}

namespace {
// What takes the limits away without being one.
std::vector<Finding> openDoors(const config::Config& config) {
  std::vector<Finding> findings;
  constexpr int kLeastBits = 8;
  for (const auto& text : config.list(key::kTrustedProxies)) {
    const auto slash = text.find('/');
    if (slash == std::string::npos || parseInteger(text.substr(slash + 1)).value_or(0) >= kLeastBits) continue;
    findings.push_back(warning(
        fmt::format("{}: {} trusts much of the world as a proxy, and whoever is trusted chooses the address that is "
                    "counted and logged",
                    config.variable(key::kTrustedProxies), printable(text, 60)),
        originOf(config, key::kTrustedProxies), "name the addresses of your proxies"));
  }
  if (config.integer(key::kLoginRate) == 0)
    findings.push_back(warning(config.variable(key::kLoginRate) + ": passwords may be guessed without limit",
                               originOf(config, key::kLoginRate), "remove the setting; the default is 5 a minute"));
  if (config.isSet(key::kRegistration) && config.flag(key::kRegistration))
    findings.push_back(warning(config.variable(key::kRegistration) + ": anybody may make an account",
                               originOf(config, key::kRegistration),
                               "remove the setting unless this is meant; accounts are made by: aragora user add"));
  return findings;
}
}  // namespace

std::vector<Finding> checkRateLimit(const Context& context) {
  const auto& config = context.config;
  const auto limit = config.integer(key::kRateLimit);
  const auto said = limit == 0 ? std::string("off") : counted(limit, "request") + " a minute for each address";
  if (!config.production()) return {ok("Rate limit: " + said)};
  auto findings = openDoors(config);
  if (limit == 0)
    findings.push_back(warning(config.variable(key::kRateLimit) + ": rate limiting is off",
                               originOf(config, key::kRateLimit), "remove the setting; the default is 120 a minute"));
  if (findings.empty()) findings.push_back(ok("Rate limit: " + said));
  return findings;
}

std::vector<Finding> checkKeyRotation(const Context& context) {
  const auto& config = context.config;
  const auto text = config.text(key::kKeyRotatedAt);
  if (text.empty()) {
    if (!config.production()) return {skipped("Key rotation: no date recorded (ARAGORA_ENCRYPTION_KEY_ROTATED_AT)")};
    return {warning("ARAGORA_ENCRYPTION_KEY_ROTATED_AT: not set, the age of the encryption key is unknown", "not set",
                    "record the date on which the key was made, such as 2026-01-13")};
  }
  const auto day = parseDay(text);
  const auto at = day ? day : parseMoment(text);
  if (!at || *at > nowMicros() + 86'400'000'000LL)
    return {misconfigured(config.variable(key::kKeyRotatedAt) + ": not a date in the past",
                          originOf(config, key::kKeyRotatedAt), "write it as YYYY-MM-DD")};
  const auto days = (nowMicros() - *at) / 86'400'000'000LL;
  if (days > config.integer(key::kKeyRotationDays)) {
    return {warning(fmt::format("Key rotation: the encryption key is {} old, {} is the limit", counted(days, "day"),
                                config.integer(key::kKeyRotationDays)),
                    originOf(config, key::kKeyRotatedAt),
                    "make a new key and keep the old one in ARAGORA_ENCRYPTION_PREVIOUS_KEYS")};
  }
  return {ok(fmt::format("Key rotation: the encryption key is {} old", counted(days, "day")))};
}

std::vector<Finding> checkSecretSources(const Context& context) {
  std::vector<std::string> bare;
  for (const auto& setting : config::catalogue()) {
    if (setting.secret && context.config.origin(setting.key).source == config::Source::Environment)
      bare.push_back(context.config.variable(setting.key));
  }
  if (bare.empty()) return {ok("Secrets: none comes from the bare environment")};
  if (!context.config.production()) return {ok(fmt::format("Secrets: {} from the environment", join(bare, ", ")))};
  return {warning(fmt::format("Secrets in the bare environment, readable with systemctl show: {}", join(bare, ", ")),
                  "environment",
                  "use LoadCredential=, NAME_FILE, or NAME_COMMAND for a secrets manager (Vault, AWS KMS)")};
}

std::vector<Finding> checkSecretReuse(const Context& context) {
  std::vector<Finding> findings;
  std::map<std::string, std::string> seen;  // digest would do as well; values never leave this function
  for (const auto& setting : config::catalogue()) {
    if (!setting.secret || setting.type == config::Type::Url || !context.config.isSet(setting.key) ||
        !context.config.resolved(setting.key))
      continue;
    const auto variable = context.config.variable(setting.key);
    const auto [found, inserted] = seen.emplace(context.config.secret(setting.key).reveal(), variable);
    if (!inserted)
      findings.push_back(misconfigured(fmt::format("{} and {} have the same value", found->second, variable),
                                       originOf(context.config, setting.key), "give each its own secret"));
  }
  for (const auto k : {key::kMetricsToken, key::kApiToken}) {
    if (!context.config.isSet(k) || !context.config.resolved(k)) continue;
    if (const auto weakness = config::weaknessOf(context.config.secret(k).reveal())) {
      findings.push_back(misconfigured(fmt::format("{}: {}", context.config.variable(k), *weakness),
                                       originOf(context.config, k), "generate one: openssl rand -hex 32"));
    }
  }
  if (findings.empty()) findings.push_back(ok("Secrets: all different, no placeholders"));
  return findings;
}

std::vector<Finding> checkUnknownVariables(const Context& context) {
  // What Kubernetes adds for a service called aragora.
  static const std::regex kServiceLink(R"(^ARAGORA_(SERVICE_(HOST|PORT.*)|PORT_[0-9]+_(TCP|UDP).*)$)");
  std::vector<Finding> findings;
  const auto& known = config::environmentNames();
  for (const auto& [name, origin] : context.environment_origins) {
    if (!startsWith(name, "ARAGORA_") || std::find(known.begin(), known.end(), name) != known.end() ||
        std::regex_match(name, kServiceLink))
      continue;
    const auto close = nearest(name, known);
    findings.push_back(warning(fmt::format("{}: no setting has this name; it does nothing", printable(name, 80)),
                               origin, close ? fmt::format("did you mean {}?", *close) : "remove it"));
  }
  if (findings.empty()) findings.push_back(ok("Variables: no unknown ARAGORA_ names"));
  return findings;
}

}  // namespace aragora::checks
