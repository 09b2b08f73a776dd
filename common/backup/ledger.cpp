#include "common/backup/ledger.h"

#include "common/backup/elsewhere.h"
#include "common/backup/signed_record.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
// Elsewhere, what is still here comes there again with the next copy.
std::string hintAt(const storage::Place& place) {
  if (holdsCopies(place))
    return "what is still here is brought there again: aragora backup copy; of the rest take note: aragora backup "
           "forget --from offsite";
  return "bring it back from a copy (see: aragora backup list --from offsite), or take note that it is gone: aragora "
         "backup forget";
}

std::string fileOf(Kind kind) { return name(kind) + ".json"; }

json::object describe(Kind kind, const Ledger& ledger) {
  json::object present;
  for (const auto& [id, sequence] : ledger.present) present[id] = sequence;
  return {{"kind", name(kind)}, {"head", ledger.head.id}, {"sequence", ledger.head.sequence}, {"present", present}};
}

bool isThere(const storage::Place& place, Kind kind, const std::string& id) {
  return (place / name(kind) / id).size("manifest.json").has_value();
}

std::vector<std::string> missingFrom(const Ledger& ledger, const storage::Place& place, Kind kind,
                                     const std::vector<Entry>& entries) {
  std::vector<std::string> missing;
  for (const auto& [id, sequence] : ledger.present) {
    const bool listed =
        std::any_of(entries.begin(), entries.end(), [&, &id = id](const Entry& e) { return e.id == id; });
    if (!listed && !isThere(place, kind, id)) missing.push_back(id);
  }
  std::sort(missing.begin(), missing.end(),
            [&](const auto& a, const auto& b) { return ledger.present.at(a) < ledger.present.at(b); });
  return missing;
}

std::int64_t newestOf(const std::vector<Entry>& entries) {
  std::int64_t newest = -1;
  for (const auto& entry : entries) {
    if (entry.manifest) newest = std::max(newest, entry.manifest->sequence);
  }
  return newest;
}
// For whoever goes on without what is not known.
ToldHeads askedHeads(const database::Target& target, const storage::Place& place, const crypto::Keyring& keyring) {
  auto told = toldHeads(target, place, keyring);
  if (!told.failure.empty()) log::info("{}", told.failure);
  return told;
}
}  // namespace

void Ledger::add(const Head& made) {
  present[made.id] = made.sequence;
  if (made.sequence >= head.sequence) head = made;
}

std::optional<Ledger> readLedger(const storage::Place& place, Kind kind, const crypto::Keyring& keyring) {
  const auto folder = place / "ledger";
  const auto record = readSignedRecord(folder, fileOf(kind), keyring);
  if (!record) return std::nullopt;
  if (jsonTextOr(*record, "kind", "") != name(kind))
    throw Error(Code::Damaged, fmt::format("{}: is of another kind", (folder / fileOf(kind)).describe()),
                hintAt(place));
  Ledger ledger;
  ledger.head = {jsonTextOr(*record, "head", ""), jsonIntegerOr(*record, "sequence", 0)};
  if (const auto* present = jsonObject(*record, "present")) {
    for (const auto& [id, sequence] : *present)
      ledger.present[std::string(id)] = sequence.is_int64() ? sequence.get_int64() : 0;
  }
  return ledger;
}

Ledger ledgerToWrite(const storage::Place& place, Kind kind, const crypto::Keyring& keyring) {
  try {
    return readLedger(place, kind, keyring).value_or(Ledger());
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    log::warning("{}; it is written anew", error.what());
    return {};
  }
}

void writeLedger(const storage::Place& place, Kind kind, const Ledger& ledger, const crypto::Keyring& keyring) {
  const auto text = signedRecord(describe(kind, ledger), keyring);
  if (!place.isLocal()) return (place / "ledger").writeText(fileOf(kind), text);
  makeDirectories(place.path() / "ledger", 0750);
  writeFileAtomically(place.path() / "ledger" / fileOf(kind), text, 0640);
}

LedgerFindings compareWithLedger(const storage::Place& place, Kind kind, const std::vector<Entry>& entries,
                                 const crypto::Keyring& keyring, const std::optional<Head>& told) {
  LedgerFindings findings;
  try {
    auto ledger = readLedger(place, kind, keyring);
    if (!ledger) {
      findings.none = !entries.empty();
      if (!told || entries.empty()) return findings;
      ledger.emplace();
    }
    findings.gone = missingFrom(*ledger, place, kind, entries);
    if (!findings.gone.empty()) {  // or it was removed with a record meanwhile
      ledger = readLedger(place, kind, keyring).value_or(Ledger());
      std::erase_if(findings.gone, [&](const auto& id) { return ledger->present.count(id) == 0; });
    }
    const auto newest = newestOf(entries);
    findings.newest = std::any_of(findings.gone.begin(), findings.gone.end(),
                                  [&](const auto& id) { return ledger->present.at(id) > newest; });
    if (!findings.gone.empty())
      findings.problem =
          fmt::format("{} {} in {} and {} gone: {}", counted(findings.gone.size(), name(kind) + " backup"),
                      agreeing(findings.gone.size(), "was", "were"), place.describe(),
                      agreeing(findings.gone.size(), "is", "are"), join(findings.gone, ", "));
    if (told && told->sequence > ledger->head.sequence && !isThere(place, kind, told->id)) {
      findings.newest = true;
      if (std::find(findings.gone.begin(), findings.gone.end(), told->id) == findings.gone.end())
        findings.gone.push_back(told->id);
      findings.problem = fmt::format("{} is an old state: the database knows of {} backup {}, which is gone",
                                     place.describe(), name(kind), told->id);
    }
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    findings.newest = true;  // nobody can tell
    findings.problem = fmt::format("what was made last cannot be told: {}", error.what());
  }
  if (!findings.problem.empty()) findings.hint = hintAt(place);
  return findings;
}

void requireNewest(const LedgerFindings& findings) {
  if (findings.newest) throw Error(Code::Damaged, findings.problem, findings.hint);
}

void recordMade(const storage::Place& place, const Manifest& made, const std::vector<Entry>& before,
                const database::Target& target, const crypto::Keyring& keyring) {
  const Head head{made.id, made.sequence};
  try {
    auto ledger = readLedger(place, made.kind, keyring);
    if (!ledger && !before.empty())
      log::info("{}: from now on it is recorded which {} backups there are", place.describe(), name(made.kind));
    if (!ledger) ledger.emplace();
    for (const auto& entry : before) {
      if (entry.manifest && entry.problem.empty() && ledger->present.count(entry.id) == 0)
        ledger->add({entry.id, entry.manifest->sequence});
    }
    // An old state: what is missing stays missing until somebody says that it is known.
    const auto told = before.empty() ? std::nullopt : askedHeads(target, place, keyring).of(made.kind);
    if (told && told->sequence > ledger->head.sequence) ledger->add(*told);
    ledger->add(head);
    writeLedger(place, made.kind, *ledger, keyring);
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    log::warning("{}; it stays as it is until: aragora backup forget", error.what());
  }
  tellHead(target, place, made.kind, head, keyring);
  log::info("the newest {} backup is {} (sequence {})", name(made.kind), head.id, head.sequence);
}

void recordRemoval(const storage::Place& place, Kind kind, const std::string& id, const crypto::Keyring& keyring) {
  try {
    auto ledger = readLedger(place, kind, keyring);
    if (!ledger || ledger->present.erase(id) == 0) return;
    writeLedger(place, kind, *ledger, keyring);
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    log::warning("{}", error.what());
  }
}

std::vector<std::string> forgetGone(const storage::Place& place, Kind kind, const std::optional<Head>& told,
                                    const crypto::Keyring& keyring) {
  const auto entries = Repository(place, &keyring, kind).list();
  const auto findings = compareWithLedger(place, kind, entries, keyring, told);
  if (findings.problem.empty()) return {};
  auto ledger = ledgerToWrite(place, kind, keyring);
  if (told && told->sequence > ledger.head.sequence) ledger.head = *told;
  for (const auto& id : findings.gone) ledger.present.erase(id);
  for (const auto& entry : entries) {
    if (entry.manifest && entry.problem.empty()) ledger.add({entry.id, entry.manifest->sequence});
  }
  writeLedger(place, kind, ledger, keyring);
  return findings.gone.empty() ? std::vector<std::string>{findings.problem} : findings.gone;
}

}  // namespace aragora::backup
