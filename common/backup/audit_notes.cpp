#include "common/backup/audit_notes.h"

#include "common/backup/repository.h"
#include "common/backup/signed_record.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr const char* kHead = "audit-head.json";
constexpr const char* kRestored = "restored.json";
constexpr std::size_t kManifests = 20;  // the newest of each kind; older ones saw less
constexpr std::size_t kNoteSize = 64 * 1024;

void write(const fs::path& path, const json::object& record, const crypto::Keyring& keyring) {
  writeFileAtomically(path, signedRecord(record, keyring), 0640);
}

std::optional<json::object> read(const fs::path& path, const crypto::Keyring& keyring, AuditNotes& notes) {
  try {
    const auto text = readFileIfExists(path, kNoteSize);
    return text ? std::optional(parseSignedRecord(*text, path.string(), keyring)) : std::nullopt;
  } catch (const Error& error) {
    notes.unread.push_back(error.what());
    return std::nullopt;
  }
}

void readManifests(const storage::Place& backups, Kind kind, const std::string& database,
                   const crypto::Keyring& keyring, AuditNotes& notes) {
  auto entries = authentic(Repository(backups, &keyring, kind).list(), keyring);
  if (entries.size() > kManifests) entries.erase(entries.begin(), entries.end() - kManifests);
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    const auto& manifest = entry->manifest;
    if (!manifest || manifest->instance_id != database || manifest->audit_head.entries == 0) continue;
    notes.witnesses.push_back({"backup " + entry->id, manifest->started_at, manifest->audit_head});
  }
}
}  // namespace

void noteAuditHead(const fs::path& state_directory, const audit::Head& head, const std::string& database,
                   const crypto::Keyring& keyring) {
  write(state_directory / kHead,
        {{"database", database}, {"entries", head.entries}, {"hash", head.hash}, {"at", nowMicros()}}, keyring);
}

void noteRestored(const fs::path& state_directory, const std::string& what, const crypto::Keyring& keyring) {
  write(state_directory / kRestored, {{"what", what}, {"at", nowMicros()}}, keyring);
}

AuditNotes stateNotes(const fs::path& state_directory, const std::string& database, const crypto::Keyring& keyring) {
  AuditNotes notes;
  if (const auto head = read(state_directory / kHead, keyring, notes);
      head && jsonTextOr(*head, "database", "") == database)
    notes.witnesses.push_back({(state_directory / kHead).string(),
                               jsonIntegerOr(*head, "at", 0),
                               {jsonIntegerOr(*head, "entries", 0), jsonTextOr(*head, "hash", "")}});
  if (const auto restored = read(state_directory / kRestored, keyring, notes))
    notes.restored_at = jsonIntegerOr(*restored, "at", 0);
  return notes;
}

AuditNotes auditNotes(const fs::path& state_directory, const storage::Place& backups, const std::string& database,
                      const crypto::Keyring& keyring) {
  auto notes = stateNotes(state_directory, database, keyring);
  try {
    for (const auto kind : {Kind::Full, Kind::Base}) readManifests(backups, kind, database, keyring, notes);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    notes.unread.push_back(fmt::format("the backups in {}: {}", backups.describe(), error.what()));
  }
  return notes;
}

}  // namespace aragora::backup
