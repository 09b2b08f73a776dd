#include "cli/context.h"

#include "common/backup/elsewhere.h"
#include "common/base/log.h"
#include "common/base/owner.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/deployment/deployment.h"
#include "common/storage/location.h"

namespace aragora::cli {

Context::Context(GlobalOptions global)
    : global_(std::move(global)), output_({global_.json, global_.quiet, global_.verbose, global_.no_color}) {
  log::configure(global_.verbose ? log::Level::Debug : log::Level::Warning, false);
  sources();  // a wrong --set is refused whether or not the command reads settings
}

config::Sources Context::sources(bool run_commands) const {
  config::Sources sources{{}, global_.config_file, global_.env_file, global_.unit, run_commands};
  for (const auto& pair : global_.settings) {
    const auto equals = pair.find('=');
    const auto key = pair.substr(0, equals);
    const auto* setting = config::findSetting(key);
    if (equals == std::string::npos || setting == nullptr) {
      std::vector<std::string> keys;
      for (const auto& candidate : config::catalogue()) keys.emplace_back(candidate.key);
      const auto close = nearest(key, keys);
      throw Error(Code::Usage, fmt::format("--set {}: there is no such setting", printable(key, 60)),
                  close ? fmt::format("did you mean --set {}=…?", *close) : "see: man aragora.toml");
    }
    if (setting->secret)
      throw Error(Code::Usage,
                  fmt::format("--set {}: secrets do not belong on a command line, which every user can read", key),
                  fmt::format("use {}_FILE", setting->environment.front()));
    sources.flags[std::string(setting->key)] = pair.substr(equals + 1);
  }
  return sources;
}

config::Loaded Context::loadedAnew(bool run_commands) const {
  auto result = config::load(sources(run_commands));
  const auto& file = result.config_file;
  if (!global_.config_file && !global_.unit && !file.empty() && !startsWith(file, "/etc/aragora/"))
    nameConfiguration(file);
  return result;
}

config::Loaded& Context::loaded(bool run_commands) {
  if (!loaded_) {
    loaded_ = loadedAnew(run_commands);
    deployment::loadGeneratedSecrets(loaded_->config);
    keepScratchBelow(loaded_->config.stateDirectory());
  }
  return *loaded_;
}

config::Config& Context::config() {
  config::requireNoProblems(loaded().problems);
  return loaded().config;
}

database::Target Context::target() { return deployment::databaseTarget(config()); }

std::filesystem::path Context::backupDirectory(const std::optional<std::string>& output) {
  return output ? std::filesystem::absolute(*output) : config().backupDirectory();
}

storage::Place Context::backups(const std::optional<std::string>& output, const std::optional<std::string>& from) {
  loaded();
  if (!unwinds_) unwinds_.emplace([] {});
  sweepScratch(scratchDirectory());
  if (!from) return backupDirectory(output);
  if (*from != "offsite")
    // On a new machine before there is a configuration, too.
    return startsWith(*from, "s3://")
               ? storage::openLocation(*from, loaded().config_file_missing ? loaded().config : config())
               : storage::Place(std::filesystem::absolute(*from));
  if (auto place = storage::offsite(config())) {
    backup::requireElsewhere(*place);
    return *place;
  }
  throw Error(Code::Config, "no place elsewhere is configured", "set ARAGORA_OFFSITE");
}

const crypto::Keyring& Context::backupKeyring() {
  if (!backup_keyring_) backup_keyring_ = deployment::requireBackupKeyring(config());
  return *backup_keyring_;
}

const crypto::Keyring& Context::keyring() {
  if (!keyring_) keyring_ = deployment::requireKeyring(config());
  return *keyring_;
}

}  // namespace aragora::cli
