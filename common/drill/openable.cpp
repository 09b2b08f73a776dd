#include "common/drill/openable.h"

#include "common/backup/signed_record.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/age.h"

namespace aragora::drill {

namespace {
constexpr std::size_t kHeaderLimit = 64 * 1024;

std::string beginningOf(const fs::path& file) {
  const auto fd = openForReading(file);
  std::string bytes(kHeaderLimit, '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got = ::pread(fd.get(), bytes.data() + have, bytes.size() - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throwSystemError(Code::Io, "read", file.string(), errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

// The header, and of a small file all of it. Throws Error(Damaged) when none of our keys opens it.
void requireOpens(const fs::path& file, const std::vector<crypto::AgeIdentity>& identities) {
  const auto bytes = beginningOf(file);
  crypto::AgeReader reader(identities, [](std::string_view) {});
  try {
    reader.write(bytes);
    if (bytes.size() < kHeaderLimit) reader.finish();
  } catch (const Error& error) {
    throw Error(Code::Damaged, fmt::format("{}: {}", file.filename().string(), error.what()));
  }
}

// Only what this key has signed can be told by a machine that has nothing but the key that writes.
bool canTell(const backup::Entry& entry, const crypto::Keyring& keyring) {
  return keyring.opensBackups() || entry.manifest->key_id == keyring.activeId();
}

std::string nameOfNewestFile(const storage::Place& folder, std::string_view ending) {
  std::string newest;
  for (const auto& item : folder.list()) {
    if (!startsWith(item.name, ".") && endsWith(item.name, ending)) newest = std::max(newest, item.name);
  }
  return newest;
}

// A record with its signature, and the file that it describes.
Openable tryRecord(const std::string& what, const storage::Place& folder, const std::string& record,
                   const std::string& file, const crypto::Keyring& keyring) {
  Openable result{what, true, file, 1, {}};
  try {
    if (keyring.opensBackups()) {
      if (!backup::readSignedRecord(folder, record, keyring))
        throw Error(Code::Damaged, fmt::format("{} is missing", record));
      requireOpens(folder.path() / file, keyring.backupIdentities());
    }
  } catch (const Error& error) {
    result.problems.emplace_back(error.what());
  }
  return result;
}
}  // namespace

Openable tryKeys(const std::string& what, const std::vector<backup::Entry>& entries, const crypto::Keyring& keyring) {
  Openable result;
  result.what = what;
  const auto identities = keyring.opensBackups() ? keyring.backupIdentities() : std::vector<crypto::AgeIdentity>();
  for (const auto& entry : entries) {
    if (!entry.manifest || !entry.problem.empty() || !canTell(entry, keyring)) continue;
    ++result.tried;
    result.newest = entry.id;
    try {
      backup::Repository::requireAuthentic(entry, keyring);
      if (&entry != &entries.back() || !keyring.opensBackups()) continue;
      for (const auto& file : entry.manifest->files) requireOpens(entry.directory.path() / file.path, identities);
    } catch (const Error& error) {
      result.problems.push_back(error.hint().empty() ? error.what()
                                                     : fmt::format("{} ({})", error.what(), error.hint()));
    }
  }
  return result;
}

std::optional<Openable> tryIncrementKeys(const backup::Entry& full, const crypto::Keyring& keyring) {
  const auto folder = backup::incrementsDirectory(full);
  const auto record = nameOfNewestFile(folder, ".json");
  if (record.empty()) return std::nullopt;
  return tryRecord("increments", folder, record, record.substr(0, record.size() - 5) + ".pages.zst.age", keyring);
}

std::optional<Openable> tryLogKeys(const backup::WalArchive& archive, const crypto::Keyring& keyring) {
  const auto timelines = archive.timelines();
  for (auto timeline = timelines.rbegin(); timeline != timelines.rend(); ++timeline) {
    const auto folder = archive.directory() / fmt::format("{:08X}", *timeline);
    const auto file = nameOfNewestFile(folder, ".zst.age");
    if (file.empty()) continue;
    return tryRecord("log", folder, file.substr(0, file.size() - 8) + ".json", file, keyring);
  }
  return std::nullopt;
}

}  // namespace aragora::drill
