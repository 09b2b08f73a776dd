#include "common/backup/configuration.h"

#include <unistd.h>

#include "common/backup/artifact.h"
#include "common/base/account.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/config/loader.h"

namespace aragora::backup {

namespace {
namespace key = config::key;
constexpr std::size_t kLimit = 128U << 20;

constexpr const char* kProviderKeys = "the keys of providers";

// Whoever reads backups would read them, too.
bool isLeftOut(const config::Config& config, const config::Setting& setting) {
  return setting.secret && config::ofProviders(setting) && !config.flag(key::kBackupProviderKeys);
}

const char* hintForOthers() { return "take another backup of the configuration: aragora backup list"; }

SavedConfiguration parse(const std::string& text, const std::string& source) {
  SavedConfiguration saved;
  saved.source = source;
  const auto value = tryParseJson(text);
  const auto* document = value && value->is_object() ? &value->get_object() : nullptr;
  const auto* settings = document != nullptr ? jsonObject(*document, "settings") : nullptr;
  if (settings == nullptr)
    throw Error(Code::Damaged, fmt::format("{} is no saved configuration", source), hintForOthers());
  for (const auto& [name, setting] : *settings) {
    if (!setting.is_object()) continue;
    if (config::findSetting(std::string(name)) == nullptr)
      log::warning("{}: this version has no setting {}; it is left out", source, printable(std::string(name), 60));
    else
      saved.settings[std::string(name)] = Secret(jsonTextOr(setting.get_object(), "value", ""));
  }
  saved.left_out = jsonTextOr(*document, "left_out", "");
  if (const auto* server = jsonObject(*document, "postgresql")) saved.server = parseServerFiles(*server);
  return saved;
}

// Only who could open it knows the keys that signed it: a stranger's backup would have the stranger's keys inside.
crypto::Keyring keysInside(const SavedConfiguration& saved) {
  const auto text = [&](std::string_view name) {
    const auto found = saved.settings.find(std::string(name));
    return found == saved.settings.end() ? Secret() : found->second;
  };
  if (const auto active = text(key::kEncryptionKey); !active.empty()) {
    std::vector<Secret> previous;
    for (auto& one : split(text(key::kPreviousKeys).reveal(), ',')) {
      if (!trim(one).empty()) previous.emplace_back(std::string(trim(one)));
    }
    return crypto::Keyring(active, previous);
  }
  if (const auto writer = text(key::kBackupWriterKey); !writer.empty())
    return crypto::Keyring::fromBackupWriter(writer);
  throw Error(Code::Damaged, fmt::format("{} has no encryption key inside", saved.source), hintForOthers());
}

Entry findConfiguration(const storage::Place& place, const std::optional<std::string>& id) {
  const Repository repository(place, nullptr, Kind::Configuration);
  if (id && *id != "latest") return repository.resolve(*id);
  auto entries = repository.list();
  std::erase_if(entries, [](const Entry& entry) { return !entry.good(); });
  if (entries.empty())
    throw Error(Code::NoInput, fmt::format("there is no good backup of the configuration in {}", place.describe()),
                "name the place of the backups with --from");
  return entries.back();
}

std::string tomlText(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      quoted += fmt::format("\\{}", c);
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      quoted += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    else
      quoted += c;
  }
  return quoted + "\"";
}

std::string tomlValue(const config::Setting& setting, const std::string& text) {
  if (setting.type == config::Type::Integer || setting.type == config::Type::Flag) {
    const auto lowered = lower(text);
    if (setting.type == config::Type::Integer && parseInteger(text)) return text;
    if (lowered == "true" || lowered == "false") return lowered;
  }
  if (setting.type != config::Type::List) return tomlText(text);
  std::vector<std::string> parts;
  for (const auto& part : split(text, ',')) {
    if (!trim(part).empty()) parts.push_back(tomlText(std::string(trim(part))));
  }
  return "[" + join(parts, ", ") + "]";
}

struct NewFile {
  fs::path path;
  Secret content;
  unsigned mode = 0600;
  bool services = false;  // the units read it
};

class Writer {
 public:
  Writer(const SavedConfiguration& saved, const fs::path& directory)
      : saved_(saved), directory_(fs::absolute(directory).lexically_normal()) {
    planSettings();
    planServerFiles();
  }

  WrittenConfiguration write(Writing writing) {
    requireNothingThere();
    for (const auto& file : files_) result_.written.push_back(file.path.string());
    if (writing == Writing::DryRun) return std::move(result_);
    std::vector<fs::path> made;
    try {
      makeDirectories(directory_, 0755);
      for (const auto& file : files_) {
        prepareDirectory(file);
        made.push_back(file.path);
        createFileExclusively(file.path, file.content.reveal(), file.mode);
        if (file.services) shareWithService(file.path, 0640);
      }
      requireTheSame();
    } catch (...) {
      std::error_code ignored;
      for (const auto& path : made) fs::remove(path, ignored);
      throw;
    }
    return std::move(result_);
  }

 private:
  fs::path credentials() const { return directory_ / "credentials"; }
  fs::path toml() const { return directory_ / "aragora.toml"; }

  void planSettings() {
    std::string text = fmt::format("# Written by: aragora restore --configuration, from {}\n", saved_.source);
    std::string section;
    for (const auto& setting : config::catalogue()) {
      const auto found = saved_.settings.find(std::string(setting.key));
      if (found == saved_.settings.end()) continue;
      const auto dot = setting.key.find('.');
      const auto own = dot == std::string_view::npos ? std::string() : std::string(setting.key.substr(0, dot));
      const auto name = std::string(dot == std::string_view::npos ? setting.key : setting.key.substr(dot + 1));
      if (own != section) text += fmt::format("\n[{}]\n", own);
      section = own;
      if (!setting.secret) {
        text += fmt::format("{} = {}\n", name, tomlValue(setting, found->second.reveal()));
        continue;
      }
      const auto path = credentials() / std::string(setting.environment.front());
      text += fmt::format("{}_file = {}\n", name, tomlText(path.string()));
      files_.push_back({path, Secret(found->second.reveal() + "\n"), 0600, true});
    }
    files_.push_back({toml(), Secret(text), 0640, true});
  }

  void planServerFiles() {
    if (!saved_.left_out.empty())
      result_.missing.push_back(fmt::format("{}: backups do not hold them (backup.provider_keys); write them into {}",
                                            saved_.left_out, credentials().string()));
    for (const auto& file : saved_.server.files) {
      if (file.content)
        files_.push_back(
            {directory_ / "postgresql" / fs::path(file.path).relative_path(), Secret(*file.content), file.mode, false});
      else
        result_.missing.push_back(fmt::format("{}: {}", file.path, file.missing));
    }
    if (!saved_.server.note.empty())
      result_.missing.push_back(fmt::format("files of PostgreSQL {}: {}", saved_.server.version, saved_.server.note));
  }

  void requireNothingThere() const {
    for (const auto& file : files_) {
      std::error_code ignored;
      if (fs::exists(fs::symlink_status(file.path, ignored)))
        throw Error(Code::CannotCreate, fmt::format("{} exists already; nothing was written", file.path.string()),
                    "move it away, or name another directory with --to");
    }
  }

  void prepareDirectory(const NewFile& file) const {
    const auto parent = file.path.parent_path();
    if (fs::exists(parent)) return;
    makeDirectories(parent, parent == credentials() ? 0700 : 0755);
    if (parent == credentials()) shareWithService(parent, 0750);
  }

  void requireTheSame() const {
    const auto loaded = config::loadFrom({}, {}, toml().string(), "");
    config::requireNoProblems(loaded.problems);
    for (const auto& [name, value] : saved_.settings) {
      const bool secret = config::findSetting(name)->secret;
      const auto read = secret ? loaded.config.secret(name) : Secret(loaded.config.text(name));
      if (lower(read.reveal()) != lower(value.reveal()))
        throw Error(Code::Internal, fmt::format("{} does not give back {}", toml().string(), name));
    }
  }

  const SavedConfiguration& saved_;
  fs::path directory_;
  std::vector<NewFile> files_;
  WrittenConfiguration result_;
};
}  // namespace

std::string configurationText(const config::Config& config, const crypto::Keyring& keyring,
                              const database::Target& live) {
  json::object settings;
  for (const auto& setting : config::catalogue()) {
    if (!config.isSet(setting.key) || isLeftOut(config, setting)) continue;
    const auto value = setting.secret ? config.secret(setting.key).reveal() : config.text(setting.key);
    settings[setting.key] = json::object{{"value", value}, {"origin", config.origin(setting.key).text}};
  }
  json::object document{{"salt", toHex(keyring.configurationSalt())}, {"settings", std::move(settings)}};
  // The same, whether who asks knows them or not.
  if (!config.flag(key::kBackupProviderKeys)) document["left_out"] = kProviderKeys;
  if (live.engine == database::Engine::Postgres) document["postgresql"] = describe(serverFiles(live));
  return toPrettyJson(document) + "\n";
}

SavedConfiguration readConfiguration(const storage::Place& place, const std::optional<std::string>& id,
                                     const std::vector<crypto::AgeIdentity>& identities) {
  const auto entry = findConfiguration(place, id);
  const auto* file = entry.manifest ? entry.manifest->file(content::kConfiguration) : nullptr;
  if (file == nullptr || entry.manifest->kind != Kind::Configuration)
    throw Error(Code::NoInput, fmt::format("{} is no backup of the configuration", entry.id), hintForOthers());
  checkStored(entry.directory, *file);
  std::string text;
  readArtifact(entry.directory, *file, identities, [&](std::string_view bytes) {
    text += bytes;
    if (text.size() > kLimit) throw Error(Code::Damaged, fmt::format("backup {}: it is too large", entry.id));
  });
  auto saved = parse(text, entry.id);
  Repository::requireAuthentic(entry, keysInside(saved));
  saved.authentic = true;
  return saved;
}

SavedConfiguration readDecrypted(const fs::path& file) { return parse(readFile(file, kLimit), file.string()); }

WrittenConfiguration writeConfiguration(const SavedConfiguration& saved, const fs::path& directory, Writing writing) {
  return Writer(saved, directory).write(writing);
}

}  // namespace aragora::backup
