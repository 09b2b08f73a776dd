// A saved configuration (the backups of kind "configuration": every setting with its secret, and the files of the
// PostgreSQL server), and back into files of a new machine. Nothing is overwritten.
#pragma once

#include "common/backup/repository.h"
#include "common/backup/server_files.h"
#include "common/config/config.h"

namespace aragora::backup {

// What is sealed. The salt keeps the digest, which the manifest shows, from being guessed at. Asks the server.
std::string configurationText(const config::Config& config, const crypto::Keyring& keyring,
                              const database::Target& live);

struct SavedConfiguration {
  std::string source;  // an id, or the file
  std::map<std::string, Secret> settings;
  ServerFiles server;
  std::string left_out;    // on purpose, in words; empty: nothing
  bool authentic = false;  // the backup's signature holds under the key that is inside
};

// The newest backup of kind "configuration", or the one that is named, opened with `identities`. Throws Error(NoInput),
// Error(Damaged) when anything does not hold.
SavedConfiguration readConfiguration(const storage::Place& place, const std::optional<std::string>& id,
                                     const std::vector<crypto::AgeIdentity>& identities);
// From a file that was decrypted already; nothing vouches for it.
SavedConfiguration readDecrypted(const fs::path& file);

struct WrittenConfiguration {
  std::vector<std::string> written;
  std::vector<std::string> missing;  // what was not saved, and why
};

// aragora.toml (0640), credentials/NAME (0600) and postgresql/… below `directory`; as root they are given to the user
// that the units run as. Then they are loaded, and must give what was saved. Throws Error(CannotCreate) when any of
// them exists, having written none. With `dry_run` only says what it would write.
enum class Writing { Now, DryRun };
WrittenConfiguration writeConfiguration(const SavedConfiguration& saved, const fs::path& directory, Writing writing);

}  // namespace aragora::backup
