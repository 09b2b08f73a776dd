#include "common/backup/rekey.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/backup/increments.h"
#include "common/backup/physical/wal_archive.h"
#include "common/backup/signed_record.h"
#include "common/base/abilities.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kHeaderLimit = 64 * 1024;
constexpr std::string_view kSealed = ".zst.age";
constexpr std::string_view kRecord = ".json";
constexpr std::string_view kDetached = ".json.sig";
constexpr std::string_view kDetachedEnd = ".sig";

// Both exist afterwards, each under the other's name.
void exchange(const fs::path& a, const fs::path& b) {
  if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) != 0)
    throwSystemError(Code::Io, "exchange " + a.string() + " and", b.string(), errno);
  syncDirectory(a.parent_path());
}

class Rekeying {
 public:
  Rekeying(const fs::path& directory, const crypto::Keyring& keyring, const ArtifactOptions& sealing)
      : directory_(directory), keyring_(keyring), sealing_(sealing), identities_(keyring.backupIdentities()) {}

  RekeyReport run(std::chrono::seconds lock_wait) {
    const auto lock = Repository(directory_, &keyring_).lock(lock_wait);
    for (const auto kind : allKinds()) {
      rekeyKind(kind);
      attempt("the record of " + name(kind) + " backups",
              [&] { signAnew(directory_ / "ledger" / (name(kind) + ".json")); });
    }
    for (const auto& full : storage::Place(directory_ / "increments").list()) {
      if (startsWith(full.name, ".")) continue;
      attempt("increments of " + full.name, [&] {
        if (full.folder)
          rekeyIncrements(full.name);
        else
          signAnew(directory_ / "increments" / full.name);
      });
    }
    rekeyLog();
    for (const auto& item : storage::Place(directory_).list()) {
      if (!item.folder && endsWith(item.name, kRecord)) attempt(item.name, [&] { signAnew(directory_ / item.name); });
    }
    signEvidence();
    return std::move(report_);
  }

 private:
  template <typename Function>
  void attempt(const std::string& what, Function&& function) {
    try {
      function();
    } catch (const Error& error) {
      if (error.code() != Code::Damaged) throw;
      report_.untouched.push_back(fmt::format("{}: {}", what, error.what()));
    }
  }

  void rekeyKind(Kind kind) {
    const Repository repository(directory_, &keyring_, kind);
    repository.removeLeftovers();
    std::string previous;  // the manifests stay a chain
    for (const auto& entry : repository.list()) {
      auto digest = entry.manifest_sha256;
      attempt(entry.id, [&] {
        digest = rekeyBackup(repository, entry, previous);
        if (!entry.verifications.empty()) signAnew(directory_ / "verified" / (entry.id + ".json"));
      });
      previous = digest;
    }
  }

  std::string rekeyBackup(const Repository& repository, const Entry& entry, const std::string& previous) {
    Repository::requireAuthentic(entry, keyring_);
    auto manifest = *entry.manifest;
    std::vector<std::string> recipients;
    for (const auto& recipient : sealing_.recipients) recipients.push_back(crypto::formatAgeRecipient(recipient));
    const bool right = manifest.key_id == keyring_.activeId() && manifest.recipients == recipients &&
                       (previous.empty() || manifest.previous_sha256.empty() || manifest.previous_sha256 == previous);
    if (right) {
      ++report_.already;
      return entry.manifest_sha256;
    }
    const auto temporary = repository.beginTemporary("rekey-" + entry.id);
    for (auto& file : manifest.files) {
      checkStored(entry.directory, file);
      rewrap(entry.directory.path() / file.path, temporary / file.path, file);
    }
    manifest.key_id = keyring_.activeId();
    manifest.recipients = recipients;
    if (!manifest.previous_sha256.empty() && !previous.empty()) manifest.previous_sha256 = previous;
    const auto text = serialise(manifest);
    createFileExclusively(temporary / "manifest.json", text, 0640);
    createFileExclusively(temporary / "manifest.json.sig", toHex(keyring_.signManifest(text)) + "\n", 0640);
    takeThePlaceOf(entry.directory.path(), temporary);
    ++report_.backups;
    return crypto::sha256Hex(text);
  }

  static void takeThePlaceOf(const fs::path& old, const fs::path& temporary) {
    syncDirectory(temporary);
    exchange(temporary, old);
    fs::remove_all(temporary);
  }

  // The same payload behind a header of today; `record` tells of the new file afterwards.
  void rewrap(const fs::path& from, const fs::path& to, FileRecord& record) const {
    const Fd source = openForReading(from);
    std::string start(kHeaderLimit, '\0');
    const ssize_t got = ::pread(source.get(), start.data(), start.size(), 0);
    if (got < 0) throwSystemError(Code::Io, "read", from.string(), errno);
    start.resize(static_cast<std::size_t>(got));
    const auto header = crypto::rewrapAgeHeader(start, identities_, sealing_.recipients);
    const Fd target = createFile(to, O_EXCL, 0640);
    crypto::Sha256 hash;
    const auto write = [&](std::string_view bytes) {
      hash.update(bytes);
      record.stored_size += bytes.size();
      writeAll(target.get(), bytes, to);
    };
    record.stored_size = 0;
    write(header.bytes);
    std::size_t skip = header.old_size;
    storage::Place(from.parent_path()).read(from.filename().string(), [&](std::string_view bytes) {
      const auto known = std::min(skip, bytes.size());
      skip -= known;
      write(bytes.substr(known));
    });
    syncFile(target.get(), to);
    record.stored_sha256 = hash.finishHex();
  }

  // A folder of sealed files with signed records: rewritten beside it, then exchanged.
  std::size_t rekeyFolder(const fs::path& folder) {
    const auto temporary = folder.parent_path() / (".tmp-rekey-" + folder.filename().string());
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    makeDirectories(temporary, 0750);
    std::size_t rewritten = 0;
    for (const auto& item : storage::Place(folder).list()) {
      if (startsWith(item.name, ".tmp-")) continue;
      if (!endsWith(item.name, kRecord)) {
        if (!endsWith(item.name, kSealed)) linkOrCopy(folder / item.name, temporary / item.name);
        continue;
      }
      auto record = readSignedRecord(folder, item.name, keyring_);
      if (!record) continue;
      auto file = describedFile(*record);
      if (file.path.empty()) {  // it tells of no file, such as how far the receiver had confirmed
        createFileExclusively(temporary / item.name, signedRecord(*record, keyring_), 0640);
        continue;
      }
      if (!fs::exists(folder / file.path, ignored)) continue;  // a record without a file is nothing
      checkStored(folder, file);
      rewrap(folder / file.path, temporary / file.path, file);
      for (const auto& [name, value] : describeFile(file)) (*record)[name] = value;
      createFileExclusively(temporary / item.name, signedRecord(*record, keyring_), 0640);
      ++rewritten;
    }
    takeThePlaceOf(folder, temporary);
    return rewritten;
  }

  // What nobody signed, or the active key, stays as it is.
  void signAnew(const fs::path& record) const {
    const auto text = readFileIfExists(record);
    if (!text || !looksSigned(*text) || signerOf(*text, keyring_) == keyring_.activeId()) return;
    writeFileAtomically(record, signedRecord(parseSignedRecord(*text, record.string(), keyring_), keyring_), 0640);
  }

  // Of drills: a text with its signature beside it.
  void signEvidence() const {
    const auto drills = directory_ / "drills";
    for (const auto& item : storage::Place(drills).list()) {
      if (!endsWith(item.name, kDetached)) continue;
      const auto text = readFileIfExists(drills / item.name.substr(0, item.name.size() - kDetachedEnd.size()));
      const auto signature = fromHex(trim(readFileIfExists(drills / item.name).value_or("")));
      const auto signer = text && signature ? keyring_.signerOf(*text, *signature) : std::nullopt;
      if (signer && *signer != keyring_.activeId())
        writeFileAtomically(drills / item.name, toHex(keyring_.signManifest(*text)) + "\n", 0640);
    }
  }

  void rekeyIncrements(const std::string& full) { report_.increments += rekeyFolder(directory_ / "increments" / full); }

  void rekeyLog() {
    const auto directory = directory_ / "wal";
    if (!fs::exists(directory)) return;
    const WalArchive log(directory, keyring_);
    const auto lock = log.lock();
    attempt("the list of timelines", [&] {
      if (const auto known = log.confirmedTimelines())
        writeFileAtomically(directory / kTimelinesName, confirmedTimelinesText(*known, keyring_), 0640);
    });
    attempt("the list of interruptions", [&] { signAnew(directory / kInterruptionsName); });
    for (const auto timeline : log.timelines()) {
      const auto name = fmt::format("{:08X}", timeline);
      attempt("log of timeline " + name, [&] { report_.log_files += rekeyFolder(directory / name); });
    }
  }

  const fs::path& directory_;
  const crypto::Keyring& keyring_;
  const ArtifactOptions& sealing_;
  std::vector<crypto::AgeIdentity> identities_;
  RekeyReport report_;
};
}  // namespace

RekeyReport rekey(const fs::path& directory, const crypto::Keyring& keyring, const ArtifactOptions& sealing,
                  std::chrono::seconds lock_wait) {
  return Rekeying(directory, keyring, sealing).run(lock_wait);
}

}  // namespace aragora::backup
