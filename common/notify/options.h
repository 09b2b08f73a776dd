// Whom failures are told, as the settings of [notify] have it. Values, any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/config/config.h"
#include "common/notify/event.h"

namespace aragora::notify {

enum class Channel { Webhook, Email, BackupPing, DrillPing };
std::string_view name(Channel channel);
std::optional<Channel> parseChannel(std::string_view name);
std::vector<std::string> channelNames();

struct Webhook {
  Secret url;
  Secret key;
};

enum class MailTls { StartTls, Tls, None };

struct Email {
  std::string host;
  std::uint16_t port = 0;
  MailTls tls = MailTls::StartTls;
  std::string user;
  Secret password;
  std::string from;
  std::vector<std::string> to;
};

struct Options {
  std::optional<Webhook> webhook;
  std::optional<Email> email;
  std::optional<Secret> backup_ping;
  std::optional<Secret> drill_ping;
  Sender sender;
  std::filesystem::path directory;  // of what was told and what could not be
  std::chrono::seconds remind{24 * 3600};

  std::vector<Channel> unusable{};  // configured, and something is wrong with it

  bool has(Channel channel) const;
  bool configured(Channel channel) const;  // if only wrongly
  bool tellsPeople() const { return webhook || email; }
  std::vector<Channel> channels() const;
};

// What is wrong with a setting is said by troublesOf(); its channel is left out. From here on no text shows the
// addresses, which are secrets.
Options optionsOf(const config::Config& config);

struct Trouble {
  std::string_view setting;
  std::string message;
  std::string hint;
  bool fatal = true;  // the channel is not used
};
std::vector<Trouble> troublesOf(const config::Config& config);

}  // namespace aragora::notify
