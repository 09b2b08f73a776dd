// What a reload applies, and to whom: one table of settings and those who take them. Everything is looked at before
// anything is changed; a configuration that is refused changes nothing. One reload at a time, in the caller's thread;
// the parts take theirs while they work.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "common/accounts/accounts.h"
#include "common/base/reloadable.h"
#include "common/config/loader.h"
#include "common/crypto/certificate.h"
#include "common/database/database.h"
#include "daemon/debate/spending.h"
#include "daemon/edge/listener.h"
#include "daemon/edge/tls.h"
#include "daemon/lifecycle/backups.h"
#include "daemon/lifecycle/problem_watch.h"
#include "daemon/providers/provider.h"
#include "daemon/web/authenticator.h"
#include "daemon/web/guard.h"
#include "daemon/web/redirect.h"

namespace aragora::daemon {

struct Reloaded {
  std::vector<std::string> applied;        // settings, by name
  std::vector<std::string> after_restart;  // those that only a restart applies, with both values or the file
  std::vector<std::string> as_at_start;    // handed over by systemd, and nobody can say whether there is a new one
  std::vector<std::string> warnings;       // of what a restart would refuse
  std::optional<Error> refused;            // then nothing was changed
};

// They outlive the reloading.
struct Reloads {
  database::Database& database;
  const crypto::Keyring& keyring;
  const database::Target& target;
  edge::TlsContext* tls;  // nullptr: no TLS here
  std::atomic<Micros>& certificate_ends;
  web::Redirect& redirect;
  web::Authenticator& authenticator;
  accounts::Accounts& accounts;
  providers::Providers& providers;
  web::Guard& guard;
  web::Guard& metrics_guard;
  edge::Listener& listener;
  lifecycle::Backups& backups;
  lifecycle::ProblemWatch& problem_watch;
  Reloadable<json::object>& shown_settings;
  debate::Spending& spending;
};

class Reloading {
 public:
  // `at_start` outlives it. `certificate`: the fingerprint of what the TLS context was made of.
  Reloading(const config::Loaded& at_start, std::string certificate, Reloads parts)
      : config_(at_start.config),
        config_file_(at_start.config_file),
        current_(at_start.config),
        certificate_seen_(std::move(certificate)),
        parts_(parts) {}

  // `actor` is who asked for it, for the audit log.
  Reloaded reload(const std::function<config::Loaded()>& load, const std::string& actor);
  // When the certificate of `from` ends, for the metrics; nothing where no TLS is spoken.
  crypto::CertificateReport noteCertificate(const config::Config& from);
  // The settings that reload() applies, which is what the catalogue calls reloadable.
  static std::vector<std::string_view> reloadableSettings();

 private:
  struct Taker;
  static const std::vector<Taker>& takers();
  bool sameCertificate(const config::Config& fresh) const;
  void reloadCertificate(const config::Config& fresh);
  void reloadTokens(const config::Config& fresh);
  void reloadProviders(const config::Config& fresh);
  void reloadOrigins(const config::Config& fresh);
  void record(const std::string& actor);
  std::vector<std::string> settingsLost(const config::Config& fresh) const;
  Reloaded apply(config::Loaded fresh, const std::string& actor);

  const config::Config& config_;  // as it was at the start
  std::string config_file_;       // that was read then; empty when there was none
  config::Config current_;        // of the last reload
  std::string certificate_seen_;
  Reloads parts_;
};

}  // namespace aragora::daemon
