#include "common/deployment/deployment.h"

#include <sys/stat.h>

#include "common/base/error.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::deployment {

using config::Config;

namespace {
constexpr const char* kEncryptionKeyFile = "encryption_key";
}  // namespace

database::Target databaseTarget(const Config& config) {
  namespace key = config::key;
  database::Target target;
  target.engine = config.usesPostgres() ? database::Engine::Postgres : database::Engine::Sqlite;
  if (config.usesPostgres())
    target.url = config.secret(key::kDatabaseUrl);
  else
    target.path = config.sqlitePath();
  target.connect_timeout = std::chrono::milliseconds(config.integer(key::kConnectMs));
  target.statement_timeout = std::chrono::milliseconds(config.integer(key::kStatementMs));
  target.acquire_timeout = std::chrono::milliseconds(config.integer(key::kAcquireMs));
  target.pool_size = static_cast<std::size_t>(config.integer(key::kDatabasePool));
  return target;
}

std::optional<crypto::Keyring> keyring(const Config& config) {
  namespace key = config::key;
  if (!config.isSet(key::kEncryptionKey)) return std::nullopt;
  std::vector<Secret> previous;
  for (auto& text : config.list(key::kPreviousKeys)) previous.emplace_back(std::move(text));
  return crypto::Keyring(config.secret(key::kEncryptionKey), previous);
}

crypto::Keyring requireKeyring(const Config& config) {
  if (auto ring = keyring(config)) return std::move(*ring);
  throw Error(Code::Config, "no encryption key is configured",
              config.production()
                  ? "set ARAGORA_ENCRYPTION_KEY_FILE to a file that holds the output of: openssl rand -hex 32"
                  : "run: aragora init");
}

std::optional<crypto::Keyring> backupKeyring(const Config& config) {
  if (auto ring = keyring(config)) return ring;
  if (!config.isSet(config::key::kBackupWriterKey)) return std::nullopt;
  return crypto::Keyring::fromBackupWriter(config.secret(config::key::kBackupWriterKey));
}

crypto::Keyring requireBackupKeyring(const Config& config) {
  if (auto ring = backupKeyring(config)) return std::move(*ring);
  return requireKeyring(config);
}

std::filesystem::path secretsDirectory(const Config& config) { return config.stateDirectory() / "secrets"; }

namespace {
struct Generated {
  std::string_view key;
  const char* file;
};
constexpr Generated kGenerated[] = {{config::key::kJwtSecret, "jwt_secret"},
                                    {config::key::kEncryptionKey, kEncryptionKeyFile}};

void addFrom(Config& config, const Generated& generated, const std::filesystem::path& path, const std::string& text) {
  config.add(generated.key, {Secret(std::string(trim(text))), {config::Source::Generated, path.string()}});
}
}  // namespace

void loadGeneratedSecrets(Config& config) {
  if (config.production()) return;
  for (const auto& generated : kGenerated) {
    if (config.isSet(generated.key)) continue;
    const auto path = secretsDirectory(config) / generated.file;
    if (const auto text = readFileIfExists(path, 4096)) addFrom(config, generated, path, *text);
  }
}

std::vector<std::filesystem::path> ensureGeneratedSecrets(Config& config) {
  std::vector<std::filesystem::path> written;
  if (config.production()) return written;
  loadGeneratedSecrets(config);
  for (const auto& generated : kGenerated) {
    if (config.isSet(generated.key)) continue;
    // A machine that must not read backups makes no key that could.
    if (generated.key == config::key::kEncryptionKey && config.isSet(config::key::kBackupWriterKey)) continue;
    const auto path = secretsDirectory(config) / generated.file;
    makeDirectories(config.stateDirectory(), 0750);
    makeDirectories(path.parent_path(), 0700);
    const auto text = toHex(crypto::randomBytes(32)) + "\n";
    // Of two first runs at once the second takes what the first made.
    if (createFileOnce(path, text, 0600)) {
      addFrom(config, generated, path, text);
      written.push_back(path);
    } else {
      addFrom(config, generated, path, readFile(path, 4096));
    }
  }
  return written;
}

}  // namespace aragora::deployment
