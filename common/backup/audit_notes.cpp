#include "common/backup/audit_notes.h"

#include <future>
#include <thread>

#include "common/backup/increments.h"
#include "common/backup/repository.h"
#include "common/backup/signed_record.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr const char* kHead = "audit-head.json";
constexpr const char* kRestored = "restored.json";
constexpr const char* kAccepted = "audit-accepted.json";
constexpr const char* kNotes[] = {kHead, kRestored, kAccepted};
constexpr const char* kEvidence = "audit-evidence";
constexpr std::size_t kManifests = 20;  // the newest of each kind; older ones saw less
constexpr std::size_t kNoteSize = 64 * 1024;

struct Read {
  std::optional<json::object> record;
  std::string forged;  // why it is not believed
  std::string unread;
};

Read read(const fs::path& path, const crypto::Keyring& keyring) {
  try {
    const auto text = readFileIfExists(path, kNoteSize);
    if (!text) return {};
    return {parseSignedRecord(*text, path.string(), keyring), {}, {}};
  } catch (const Error& error) {
    if (error.code() == Code::Damaged) return {std::nullopt, error.what(), {}};
    return {std::nullopt, {}, error.what()};
  }
}

// Under a name of its own, so that nothing there is ever replaced.
void setAside(const fs::path& state_directory, const char* name) {
  const auto folder = state_directory / kEvidence;
  makeDirectories(folder, 0750);
  renameDurably(state_directory / name, folder / fmt::format("{}.{}", name, toCompactIso(nowMicros())));
}

void write(const fs::path& state_directory, const char* name, const json::object& record,
           const crypto::Keyring& keyring) {
  makeDirectories(state_directory, 0750);
  if (!read(state_directory / name, keyring).forged.empty()) setAside(state_directory, name);
  writeFileAtomically(state_directory / name, signedRecord(record, keyring), 0640);
}

std::vector<fs::path> setAsideIn(const fs::path& state_directory) {
  std::vector<fs::path> files;
  std::error_code none;
  for (const auto& item : fs::directory_iterator(state_directory / kEvidence, none)) {
    if (item.is_regular_file(none)) files.push_back(item.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// What a note says, where it is ours.
std::optional<json::object> take(const fs::path& path, const crypto::Keyring& keyring, AuditNotes& notes) {
  auto found = read(path, keyring);
  if (!found.forged.empty()) notes.forged.push_back(std::move(found.forged));
  if (!found.unread.empty()) notes.unread.push_back(std::move(found.unread));
  return std::move(found.record);
}

// Their names begin with the time, so that not every one has to be read to know the newest.
std::vector<std::string> newestOf(const storage::Place& folder) {
  std::vector<std::string> names;
  for (const auto& item : folder.list()) {
    if (item.folder && !startsWith(item.name, ".")) names.push_back(item.name);
  }
  std::sort(names.rbegin(), names.rend());
  if (names.size() > kManifests) names.resize(kManifests);
  return names;
}

// What does not hold is no witness; `backup verify` says so.
template <typename Read>
void ifItHolds(Read&& read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
  }
}

void readManifests(const storage::Place& backups, Kind kind, const std::string& database,
                   const crypto::Keyring& keyring, AuditNotes& notes) {
  const auto folder = backups / name(kind);
  for (const auto& id : newestOf(folder)) {
    const auto entry = Repository::read(folder / id);
    const auto& manifest = entry.manifest;
    if (!manifest || manifest->instance_id != database) continue;
    const auto source = fmt::format("backup {}{}", entry.id, backups.isLocal() ? "" : " in " + backups.describe());
    ifItHolds([&] {
      Repository::requireAuthentic(entry, keyring);
      if (manifest->audit_head.entries > 0)
        notes.witnesses.push_back({source, manifest->started_at, manifest->audit_head});
    });
    if (kind != Kind::Full) continue;
    ifItHolds([&] {
      if (const auto seen = auditHeadOfIncrements(entry, keyring))
        notes.witnesses.push_back({"an increment of " + source, seen->first, seen->second});
    });
  }
}
}  // namespace

void AuditNotes::add(AuditNotes more) {
  const auto append = [](auto& to, auto& from) {
    to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
  };
  append(witnesses, more.witnesses);
  append(unread, more.unread);
  append(forged, more.forged);
  accepted_at = std::max(accepted_at, more.accepted_at);
}

void noteAuditHead(const fs::path& state_directory, const audit::Head& head, const std::string& database,
                   const crypto::Keyring& keyring) {
  write(state_directory, kHead,
        {{"database", database}, {"entries", head.entries}, {"hash", head.hash}, {"at", nowMicros()}}, keyring);
}

void noteRestored(const fs::path& state_directory, const std::string& what, const crypto::Keyring& keyring) {
  write(state_directory, kRestored, {{"what", what}, {"at", nowMicros()}}, keyring);
}

AuditNotes stateNotes(const fs::path& state_directory, const std::string& database, const crypto::Keyring& keyring) {
  AuditNotes notes;
  if (const auto head = take(state_directory / kHead, keyring, notes);
      head && jsonTextOr(*head, "database", "") == database)
    notes.witnesses.push_back({(state_directory / kHead).string(),
                               jsonIntegerOr(*head, "at", 0),
                               {jsonIntegerOr(*head, "entries", 0), jsonTextOr(*head, "hash", "")}});
  for (const auto* name : {kRestored, kAccepted}) {
    if (const auto accepted = take(state_directory / name, keyring, notes))
      notes.accepted_at = std::max(notes.accepted_at, jsonIntegerOr(*accepted, "at", 0));
  }
  for (const auto& file : setAsideIn(state_directory))
    notes.forged.push_back(
        fmt::format("{}: it was in the place of a note of ours and not signed by us", file.string()));
  return notes;
}

AuditNotes manifestNotes(const storage::Place& backups, const std::string& database, const crypto::Keyring& keyring) {
  AuditNotes notes;
  try {
    for (const auto kind : allKinds()) readManifests(backups, kind, database, keyring, notes);
  } catch (const Error& error) {
    if (error.code() == Code::Interrupted) throw;
    notes.unread.push_back(fmt::format("the backups in {}: {}", backups.describe(), error.what()));
  }
  return notes;
}

AuditNotes manifestNotes(const storage::Place& elsewhere, const std::string& database, const crypto::Keyring& keyring,
                         std::chrono::milliseconds patience) {
  constexpr auto kLook = std::chrono::milliseconds(50);
  // Everything by value: the thread may go on when nobody waits any more.
  std::packaged_task<AuditNotes()> task(
      [elsewhere, database, keyring] { return manifestNotes(elsewhere, database, keyring); });
  auto answer = task.get_future();
  std::thread(std::move(task)).detach();
  for (const auto deadline = deadlineIn(patience); remaining(deadline).count() > 0;) {
    if (answer.wait_for(std::min(remaining(deadline), kLook)) == std::future_status::ready) return answer.get();
    interrupt::check();
  }
  AuditNotes notes;
  notes.unread.push_back(fmt::format("the backups in {}: no answer within {}", elsewhere.describe(),
                                     humanDuration(std::chrono::duration_cast<std::chrono::seconds>(patience))));
  return notes;
}

std::vector<std::string> acceptAudit(const fs::path& state_directory, const std::string& reason,
                                     const crypto::Keyring& keyring) {
  for (const auto* name : kNotes) {
    if (!read(state_directory / name, keyring).forged.empty()) setAside(state_directory, name);
  }
  const auto now = nowMicros();
  std::vector<std::string> seen;
  const auto files = setAsideIn(state_directory);
  const auto looked_at = state_directory / kEvidence / fmt::format("accepted-{}", toCompactIso(now));
  if (!files.empty()) makeDirectories(looked_at, 0750);
  for (const auto& file : files) {
    renameDurably(file, looked_at / file.filename());
    seen.push_back((looked_at / file.filename()).string());
  }
  write(state_directory, kAccepted, {{"reason", reason}, {"at", now}}, keyring);
  return seen;
}

std::map<std::string, std::int64_t> notesBy(const fs::path& state_directory, const crypto::Keyring& keyring) {
  std::map<std::string, std::int64_t> by;
  for (const auto* name : kNotes) {
    if (const auto text = readFileIfExists(state_directory / name, kNoteSize))
      ++by[signerOf(*text, keyring).value_or("?")];
  }
  return by;
}

std::size_t signNotesAnew(const fs::path& state_directory, const crypto::Keyring& keyring) {
  std::size_t signed_anew = 0;
  for (const auto* name : kNotes) {
    const auto path = state_directory / name;
    const auto text = readFileIfExists(path, kNoteSize);
    const auto signer = text ? signerOf(*text, keyring) : std::nullopt;
    if (!signer || *signer == keyring.activeId()) continue;
    writeFileAtomically(path, signedRecord(parseSignedRecord(*text, path.string(), keyring), keyring), 0640);
    ++signed_anew;
  }
  return signed_anew;
}

}  // namespace aragora::backup
