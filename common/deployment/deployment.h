// What a configuration means for this machine: the database to open, the keys to use, and for development the secrets
// that are generated once and kept with mode 0600. Shared by the daemon and every command, so that they never differ.
#pragma once

#include "common/config/config.h"
#include "common/crypto/keyring.h"
#include "common/database/connection.h"

namespace aragora::deployment {

database::Target databaseTarget(const config::Config& config);

// nullopt when no key is configured.
std::optional<crypto::Keyring> keyring(const config::Config& config);
// Throws Error(Config) that says how to make one.
crypto::Keyring requireKeyring(const config::Config& config);
// For making backups: the encryption key, or where there is none the key that only writes them.
std::optional<crypto::Keyring> backupKeyring(const config::Config& config);
crypto::Keyring requireBackupKeyring(const config::Config& config);

std::filesystem::path secretsDirectory(const config::Config& config);
// Outside production: adds the secrets that an earlier start generated. Reads only.
void loadGeneratedSecrets(config::Config& config);
// Outside production: generates JWT secret and encryption key when they are missing, keeps them, and adds them.
// Answers the files it wrote.
std::vector<std::filesystem::path> ensureGeneratedSecrets(config::Config& config);

}  // namespace aragora::deployment
