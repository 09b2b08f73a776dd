#include "daemon/reloading.h"

#include <algorithm>

#include "common/audit/audit.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/config/handed_over.h"
#include "common/deployment/deployment.h"
#include "common/notify/options.h"
#include "daemon/assembly.h"
#include "daemon/assembly_options.h"
#include "daemon/self_report.h"

namespace aragora::daemon {

namespace key = config::key;

// Who takes a setting that reload() applies.
struct Reloading::Taker {
  std::vector<std::string_view> settings;
  std::function<void(Reloading&, const config::Config&)> take;
};

const std::vector<Reloading::Taker>& Reloading::takers() {
  static const std::vector<Taker> all = {
      // The only one that can still fail, and so the first.
      {{key::kTlsCertificate, key::kTlsKey},
       [](Reloading& self, const config::Config& config) { self.reloadCertificate(config); }},
      {{key::kLogLevel, key::kLogFormat}, [](Reloading&, const config::Config& config) { configureLog(config); }},
      {{key::kAllowedOrigins, key::kTrustedProxies, key::kRateLimit, key::kAccountRate, key::kDebateRate,
        key::kReportRate, key::kHandshakeRate, key::kRefreshRate, key::kLogAccess},
       [](Reloading& self, const config::Config& config) { self.reloadOrigins(config); }},
      {{key::kJwtSecret, key::kJwtPrevious, key::kApiToken, key::kMetricsToken},
       [](Reloading& self, const config::Config& config) { self.reloadTokens(config); }},
      {{key::kDefaultAgents, key::kAnthropicKey, key::kAnthropicToken, key::kOpenAiKey, key::kGeminiKey, key::kLocalKey,
        key::kOpenRouterKey},
       [](Reloading& self, const config::Config& config) { self.reloadProviders(config); }},
      {{key::kDebateBudget, key::kAccountBudget, key::kDailyBudget},
       [](Reloading& self, const config::Config& config) { self.parts_.spending.setCaps(budgetCaps(config)); }},
      {{key::kWebhookUrl, key::kWebhookKey, key::kEmailTo, key::kEmailFrom, key::kSmtpHost, key::kSmtpPort,
        key::kSmtpTls, key::kSmtpUser, key::kSmtpPassword, key::kBackupPing, key::kDrillPing, key::kNotifyInterval,
        key::kRemindHours},
       [](Reloading& self, const config::Config& config) { self.parts_.problem_watch.reload(config); }},
  };
  return all;
}

std::vector<std::string_view> Reloading::reloadableSettings() {
  std::vector<std::string_view> all;
  for (const auto& taker : takers()) all.insert(all.end(), taker.settings.begin(), taker.settings.end());
  return all;
}

Reloaded Reloading::reload(const std::function<config::Loaded()>& load, const std::string& actor) {
  Reloaded result;
  try {
    result = apply(load(), actor);
  } catch (const Error& error) {
    log::tell(log::Event::ReloadRefused, log::Level::Error, "the configuration was not reloaded: {}", error.what());
    result.refused = error;
  }
  return result;
}

namespace {
// Nobody's debates wait for how failures are told, so a daemon starts whatever is wrong with that. A reload can be
// refused at no cost: it takes away no channel that worked, and brings none that does not.
void refuseNewTroubles(const config::Config& current, const config::Config& fresh) {
  const auto before = notify::troublesOf(current);
  for (const auto& trouble : notify::troublesOf(fresh)) {
    const bool known = std::any_of(before.begin(), before.end(), [&](const notify::Trouble& one) {
      return one.setting == trouble.setting && one.message == trouble.message;
    });
    if (trouble.fatal && !known)
      throw Error(Code::Config,
                  fmt::format("the configuration is refused: {}: {} [{}]", fresh.variable(trouble.setting),
                              trouble.message, fresh.origin(trouble.setting).text),
                  trouble.hint);
  }
}
}  // namespace

Reloaded Reloading::apply(config::Loaded fresh, const std::string& actor) {
  Reloaded result;
  config::requireNoProblems(fresh.problems);
  auto lost = settingsLost(fresh.config);
  deployment::loadGeneratedSecrets(fresh.config);
  result.warnings = requireStartable(fresh, Occasion::Reload, sameCertificate(fresh.config));
  refuseNewTroubles(current_, fresh.config);
  if (!lost.empty())
    result.warnings.push_back(
        fmt::format("{} no longer says anything of {}: was it cut?", config_file_, join(lost, ", ")));
  for (const auto& taker : takers()) taker.take(*this, fresh.config);
  parts_.backups.keepConfiguration(backup::createOptions(fresh.config, parts_.target, parts_.keyring));
  record(actor);
  noteCaps(parts_.database, parts_.keyring, parts_.spending, actor);
  parts_.shown_settings.set(settingsInEffect(config_, fresh.config));
  result.applied = appliedAtOnce(std::exchange(current_, fresh.config), fresh.config);
  result.after_restart = needingARestart(config_, fresh.config);
  const auto handed = config::lookAtHandedOver(fresh.config, fs::path(config::kInstalledDirectory) / "credentials");
  result.after_restart.insert(result.after_restart.end(), handed.outdated.begin(), handed.outdated.end());
  result.as_at_start = handed.unseen;
  log::tell(log::Event::Reloaded, log::Level::Info, "configuration reloaded{}{}", result.applied.empty() ? "" : ": ",
            join(result.applied, ", "));
  if (!result.after_restart.empty())
    log::warning("these take effect after a restart only: {}", join(result.after_restart, ", "));
  if (!result.as_at_start.empty())
    log::info("these were handed over by systemd and are as old as the start: {}", join(result.as_at_start, ", "));
  return result;
}

namespace {
bool writtenIn(const std::string& file, const config::Config& config, std::string_view name) {
  return config.isSet(name) && config.origin(name).text.find(file + ":") != std::string::npos;
}
}  // namespace

// A file that was cut within a line is refused for that; cut between two lines, or emptied, it is a good file that says
// less. What is set nowhere any more is named; a file that says nothing is no configuration that anybody wrote.
std::vector<std::string> Reloading::settingsLost(const config::Config& fresh) const {
  std::vector<std::string> lost;
  bool says_something = config_file_.empty();
  std::size_t said = 0;
  for (const auto& setting : config::catalogue()) {
    says_something |= writtenIn(config_file_, fresh, setting.key);
    if (!writtenIn(config_file_, current_, setting.key)) continue;
    ++said;
    if (!fresh.isSet(setting.key)) lost.emplace_back(setting.key);
  }
  if (says_something || said == 0) return lost;
  throw Error(Code::Config,
              fmt::format("{} says nothing any more, and said {} before", config_file_, counted(said, "setting")),
              "put the file back; where that is meant: restart");
}

crypto::CertificateReport Reloading::noteCertificate(const config::Config& from) {
  if (parts_.tls == nullptr) return {};
  auto report = crypto::inspectCertificate(tlsFiles(from).certificate, tlsFiles(from).key);
  parts_.certificate_ends = report.not_after;
  return report;
}

// The same as what is in use, whatever has become of its validity.
bool Reloading::sameCertificate(const config::Config& fresh) const {
  return parts_.tls != nullptr && fresh.speaksTls() && !certificate_seen_.empty() &&
         certificateFingerprint(fresh) == certificate_seen_;
}

// Throws, having changed nothing, for one that cannot be used.
void Reloading::reloadCertificate(const config::Config& fresh) {
  if (sameCertificate(fresh)) return;
  if (parts_.tls == nullptr || !fresh.speaksTls()) {
    if (config_.speaksTls() != fresh.speaksTls())
      log::warning("TLS is {} after a restart only", fresh.speaksTls() ? "spoken" : "given up");
    return;
  }
  auto options = parts_.redirect.options();
  const auto seen = certificateFingerprint(fresh);  // before: what changes in between is another one to the next reload
  parts_.tls->reload(tlsFiles(fresh));
  certificate_seen_ = seen;
  options.certificate = noteCertificate(fresh);
  parts_.redirect.reload(std::move(options));
}

void Reloading::reloadTokens(const config::Config& fresh) {
  auto options = authenticatorOptions(fresh);
  options.anonymous = authenticatorOptions(config_).anonymous;  // follows from addresses, which stay
  parts_.authenticator.reload(std::move(options));
  parts_.accounts.reload(fresh.secret(key::kJwtSecret), fresh.secret(key::kJwtPrevious));
}

void Reloading::reloadProviders(const config::Config& fresh) {
  const auto changed = [&](std::string_view name) { return differs(name, current_, fresh); };
  constexpr std::string_view kKeys[] = {key::kAnthropicKey, key::kAnthropicToken, key::kOpenAiKey,
                                        key::kGeminiKey,    key::kLocalKey,       key::kOpenRouterKey};
  if (std::any_of(std::begin(kKeys), std::end(kKeys), changed)) parts_.providers.reload(withKeysOf(fresh, config_));
  parts_.providers.forgetBlocked();
  parts_.providers.setDefaultAgents(config::defaultAgents(fresh));
}

void Reloading::reloadOrigins(const config::Config& fresh) {
  parts_.guard.reload(guardSettings(fresh));
  parts_.metrics_guard.reload(guardSettings(fresh));
  parts_.listener.trust(guardSettings(fresh).trusted_proxies);
  auto options = parts_.redirect.options();
  options.hosts = redirectHosts(config_, fresh);
  parts_.redirect.reload(std::move(options));
}

// A database that is away does not keep a reload from taking effect.
void Reloading::record(const std::string& actor) {
  try {
    parts_.database.write([&](database::Connection& connection) {
      audit::append(connection, parts_.keyring,
                    {actor, "configuration.reload", "configuration", "success", {}, {}, {}});
    });
  } catch (const Error& error) {
    log::warning("the reload is not in the audit log: {}", error.what());
  }
}

}  // namespace aragora::daemon
