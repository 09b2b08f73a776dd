#include "common/notify/options.h"

#include <unistd.h>

#include <algorithm>

#include "common/base/names.h"
#include "common/base/text.h"
#include "common/config/strength.h"
#include "common/net/smtp.h"
#include "common/net/url.h"

namespace aragora::notify {

namespace {
namespace key = config::key;

constexpr Names<Channel, 4> kChannels{{{Channel::Webhook, "webhook"},
                                       {Channel::Email, "email"},
                                       {Channel::BackupPing, "backup-ping"},
                                       {Channel::DrillPing, "drill-ping"}}};
constexpr Names<MailTls, 3> kTls{{{MailTls::StartTls, "starttls"}, {MailTls::Tls, "tls"}, {MailTls::None, "none"}}};

std::string hostName() {
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  return host;
}

void lookAtUrl(const config::Config& config, std::string_view setting, std::vector<Trouble>& troubles) {
  if (!config.isSet(setting) || !config.resolved(setting)) return;
  const auto secret = config.secret(setting);
  const auto url = net::Url::parse(secret.reveal());
  const auto say = [&](std::string message, std::string hint) {
    troubles.push_back({setting, std::move(message), std::move(hint)});
  };
  if (!url || (url->scheme != "https" && url->scheme != "http") || url->port == 0)
    return say("is not an http or https URL", "write it as https://host/path");
  if (!url->user_info.empty()) say("has a user in it, who is not sent", "write it as https://host/path");
  if (config.production() && url->scheme == "http" && !config::loopbackHost(url->host))
    say("is not https: whoever listens learns the address and what is told", "use https://");
}

std::uint16_t portOf(const config::Config& config, MailTls tls) {
  if (const auto given = config.integer(key::kSmtpPort); given > 0) return static_cast<std::uint16_t>(given);
  return tls == MailTls::StartTls ? 587 : tls == MailTls::Tls ? 465 : 25;
}

MailTls tlsOf(const config::Config& config) {
  return parseIn(kTls, config.text(key::kSmtpTls)).value_or(MailTls::StartTls);
}

std::string senderOf(const config::Config& config) {
  return config.isSet(key::kEmailFrom) ? config.text(key::kEmailFrom) : "aragora@" + hostName();
}

void lookAtEmail(const config::Config& config, std::vector<Trouble>& troubles) {
  const auto to = config.list(key::kEmailTo);
  for (const auto& one : to) {
    if (!net::isMailAddress(one))
      troubles.push_back({key::kEmailTo, fmt::format("'{}' is no mail address", printable(one, 80)),
                          "write plain addresses, separated by commas"});
  }
  if (to.empty()) {
    for (const auto setting : {key::kSmtpHost, key::kSmtpUser, key::kEmailFrom}) {
      if (config.isSet(setting))
        troubles.push_back({setting, "is set, and nobody is to be mailed to", "set ARAGORA_NOTIFY_EMAIL_TO", false});
    }
    return;
  }
  if (!net::isMailAddress(senderOf(config)))
    troubles.push_back({key::kEmailFrom, fmt::format("'{}' is no mail address", printable(senderOf(config), 80)),
                        "set ARAGORA_NOTIFY_EMAIL_FROM"});
  if (config.isSet(key::kSmtpUser) != config.isSet(key::kSmtpPassword))
    troubles.push_back({config.isSet(key::kSmtpUser) ? key::kSmtpPassword : key::kSmtpUser,
                        "is not set: a login takes user and password", "set both, or none of them"});
  const bool clear = tlsOf(config) == MailTls::None && !config::loopbackHost(config.text(key::kSmtpHost));
  if (clear && (config.production() || config.isSet(key::kSmtpUser)))
    troubles.push_back({key::kSmtpTls, "none sends mail in clear to another machine", "use starttls or tls"});
}
}  // namespace

std::string_view name(Channel channel) { return nameIn(kChannels, channel); }
std::optional<Channel> parseChannel(std::string_view name) { return parseIn(kChannels, name); }

std::vector<std::string> channelNames() {
  std::vector<std::string> names;
  for (const auto& [channel, name] : kChannels) names.emplace_back(name);
  return names;
}

bool Options::has(Channel channel) const {
  switch (channel) {
    case Channel::Webhook:
      return webhook.has_value();
    case Channel::Email:
      return email.has_value();
    case Channel::BackupPing:
      return backup_ping.has_value();
    case Channel::DrillPing:
      return drill_ping.has_value();
  }
  return false;
}

bool Options::configured(Channel channel) const {
  return has(channel) || std::find(unusable.begin(), unusable.end(), channel) != unusable.end();
}

std::vector<Channel> Options::channels() const {
  std::vector<Channel> all;
  for (const auto& [channel, name] : kChannels) {
    if (has(channel)) all.push_back(channel);
  }
  return all;
}

std::vector<Trouble> troublesOf(const config::Config& config) {
  std::vector<Trouble> troubles;
  for (const auto setting : {key::kWebhookUrl, key::kBackupPing, key::kDrillPing}) lookAtUrl(config, setting, troubles);
  if (config.isSet(key::kWebhookUrl) && !config.isSet(key::kWebhookKey))
    troubles.push_back(
        {key::kWebhookKey, "is not set: nothing is posted that is not signed",
         "set ARAGORA_NOTIFY_WEBHOOK_KEY_FILE to a file that holds the output of: openssl rand -hex 32"});
  if (config.isSet(key::kWebhookKey) && config.resolved(key::kWebhookKey)) {
    if (const auto weakness = config::weaknessOf(config.secret(key::kWebhookKey).reveal()))
      troubles.push_back({key::kWebhookKey, *weakness, "openssl rand -hex 32"});
  }
  lookAtEmail(config, troubles);
  return troubles;
}

Options optionsOf(const config::Config& config) {
  const auto troubles = troublesOf(config);
  const auto usable = [&](std::string_view setting) {
    return config.isSet(setting) && config.resolved(setting) &&
           std::none_of(troubles.begin(), troubles.end(),
                        [&](const Trouble& one) { return one.fatal && one.setting == setting; });
  };
  Options options;
  if (usable(key::kWebhookUrl) && usable(key::kWebhookKey))
    options.webhook = Webhook{config.secret(key::kWebhookUrl), config.secret(key::kWebhookKey)};
  const bool mail_troubles = std::any_of(troubles.begin(), troubles.end(), [](const Trouble& one) {
    return one.fatal && (startsWith(one.setting, "notify.smtp_") || startsWith(one.setting, "notify.email_"));
  });
  if (usable(key::kEmailTo) && !mail_troubles) {
    const auto tls = tlsOf(config);
    options.email = Email{config.text(key::kSmtpHost),
                          portOf(config, tls),
                          tls,
                          config.text(key::kSmtpUser),
                          config.secret(key::kSmtpPassword),
                          senderOf(config),
                          config.list(key::kEmailTo)};
  }
  if (usable(key::kBackupPing)) options.backup_ping = config.secret(key::kBackupPing);
  if (usable(key::kDrillPing)) options.drill_ping = config.secret(key::kDrillPing);
  if (config.isSet(key::kWebhookUrl) && !options.webhook) options.unusable.push_back(Channel::Webhook);
  if (config.isSet(key::kEmailTo) && !options.email) options.unusable.push_back(Channel::Email);
  options.sender = {hostName(), config.text(key::kEnvironment), config.text(key::kPublicUrl)};
  options.directory = config.stateDirectory() / "notify";
  options.remind = std::chrono::hours(config.integer(key::kRemindHours));
  return options;
}

}  // namespace aragora::notify
