// Whether the keys at hand open what is kept: the signature of every manifest, and the header of the newest of each
// kind, of the newest increment and of the newest complete file of log. Reads a few kilobytes a file. Any thread.
#pragma once

#include "common/backup/increments.h"
#include "common/backup/physical/wal_archive.h"

namespace aragora::drill {

struct Openable {
  std::string what;       // a kind of backup, "increments" or "log"
  bool one_file = false;  // not a backup: the newest file of it
  std::string newest;
  std::size_t tried = 0;
  std::vector<std::string> problems;  // one a backup
};

Openable tryKeys(const std::string& what, const std::vector<backup::Entry>& entries, const crypto::Keyring& keyring);
// nullopt when there are none.
std::optional<Openable> tryIncrementKeys(const backup::Entry& full, const crypto::Keyring& keyring);
std::optional<Openable> tryLogKeys(const backup::WalArchive& archive, const crypto::Keyring& keyring);

}  // namespace aragora::drill
