#include "common/backup/offsite.h"

#include <set>

#include "common/backup/elsewhere.h"
#include "common/backup/increments.h"
#include "common/backup/ledger.h"
#include "common/backup/ownership.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/scratch.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kNoteLimit = 1U << 20;
constexpr Micros kTellWhenIdle = 600'000'000;  // while nothing comes in
constexpr std::string_view kData = ".zst.age";
constexpr std::string_view kRecord = ".json";

// By us, which is no problem of the copies.
bool wasStopped(const std::exception& error) {
  const auto* known = dynamic_cast<const Error*>(&error);
  return known != nullptr && known->code() == Code::Interrupted;
}

FileLock soleCopier(const fs::path& path, std::chrono::seconds wait) {
  makeDirectories(path.parent_path(), 0750);
  return FileLock::acquire(path, "another run is copying", wait);
}
}  // namespace

// One folder here and there, with what is known of it.
struct OffsiteCopy::Folder {
  fs::path here;
  storage::Place there;
  std::map<std::string, std::uint64_t>& known;

  bool has(const std::string& name) const { return known.count(name) > 0; }
  void bring(const std::string& name, CopyReport& report, Progress* progress = nullptr) const {
    bring(name, here / name, report, progress);
  }
  void bring(const std::string& name, const fs::path& file, CopyReport& report, Progress* progress = nullptr) const {
    const auto size = fs::file_size(file);
    there.write(name, file, progress);
    known[name] = size;
    ++report.files;
    report.bytes += size;
  }
  void forget(const std::string& name) const {
    there.remove(name);
    known.erase(name);
  }
};

OffsiteCopy::Folder OffsiteCopy::folder(const std::string& name) {
  const auto [found, fresh] = known_.try_emplace(name);
  if (fresh && !again_) {
    try {
      for (const auto& item : (there_ / name).list()) found->second[item.name] = item.size;
    } catch (...) {
      known_.erase(found);
      throw;
    }
  }
  return {here_ / name, there_ / name, found->second};
}

CopyReport OffsiteCopy::copyBackups(std::chrono::seconds wait) {
  const auto lock = soleCopier(here_ / ".offsite.lock", wait);
  CopyReport report;
  OffsiteStatus status = offsiteStatus(here_).value_or(OffsiteStatus{});
  status.place = there_.describe();
  status.at = nowMicros();
  try {
    copyAll(report);
    status.problem = report.refused.empty() ? std::string() : report.refused.front();
    if (report.refused.empty()) status.complete_at = status.at;
    writeStatus(status);
  } catch (const std::exception& error) {
    known_.clear();  // asked anew next time
    if (wasStopped(error)) throw;
    status.problem = error.what();
    writeStatus(status);
    throw;
  }
  return report;
}

void OffsiteCopy::writeStatus(const OffsiteStatus& status) const {
  const json::object object{{"place", status.place},
                            {"at", toIso(status.at)},
                            {"complete_at", status.complete_at > 0 ? toIso(status.complete_at) : ""},
                            {"problem", status.problem}};
  writeFileAtomically(here_ / "offsite.json", toPrettyJson(object) + "\n", 0640);
}

void OffsiteCopy::copyAll(CopyReport& report) {
  requireOurs();
  std::vector<std::pair<Kind, Entry>> missing;
  for (const auto kind : allKinds()) {
    for (auto& entry : Repository(here_, &keyring_, kind).list()) {
      if (entry.good() && !isThere(entry, kind)) missing.emplace_back(kind, std::move(entry));
    }
  }
  for (std::size_t i = 0; i < missing.size(); ++i) {
    within(progress_, fmt::format("copy to {}, backup {} of {}", there_.describe(), i + 1, missing.size()));
    copyBackup(missing[i].second, missing[i].first, report);
  }
  within(progress_, fmt::format("copy to {}", there_.describe()));
  for (const auto kind : allKinds()) {
    if (noted_.insert(kind).second) noteLedgerThere(kind);
  }
  copyIncrements(report);
  copyNotes("verified", false, report);
  copyNotes("pinned", true, report);
  copyNotes("drills", false, report);
}

// A place holds the backups of one deployment; whose these are, the directory here says.
void OffsiteCopy::requireOurs() {
  requireElsewhere(there_);
  if (const auto ours = ownerOf(here_)) return claimPlace(there_, ours->instance_id);
  const auto theirs = ownerOf(there_);
  if (!theirs) return;
  throw Error(Code::Conflict,
              fmt::format("{} belongs to deployment {}, and nothing in {} says that this is it", there_.describe(),
                          printable(theirs->instance_id, 40), here_.string()),
              "make a backup first: aragora backup");
}

// And the log of one cluster.
void OffsiteCopy::requireOurCluster() {
  const auto ours = readFile(here_ / "wal/cluster.json", kNoteLimit);
  const auto theirs = (there_ / "wal").text("cluster.json", kNoteLimit);
  if (!theirs) {
    CopyReport ignored;
    return folder("wal").bring("cluster.json", ignored);
  }
  const auto identifier = [](const std::string& text) {
    const auto value = tryParseJson(text);
    return value && value->is_object() ? jsonTextOr(value->get_object(), "system_identifier", "") : std::string();
  };
  if (identifier(*theirs) != identifier(ours))
    throw Error(Code::Conflict,
                fmt::format("{} holds the log of another cluster ({}, not {})", (there_ / "wal").describe(),
                            printable(identifier(*theirs), 30), identifier(ours)),
                "give each cluster a place of its own: ARAGORA_OFFSITE");
}

// As it is here: it may have been sealed for other keys since it was copied.
bool OffsiteCopy::isThere(const Entry& entry, Kind kind) {
  const auto target = folder(name(kind) + "/" + entry.id);
  if (!target.has("manifest.json")) return false;
  auto [known, fresh] = notes_.try_emplace(name(kind) + "/" + entry.id);
  if (fresh) known->second = target.there.text("manifest.json.sig", kNoteLimit).value_or("");
  return known->second == readFile(entry.directory.path() / "manifest.json.sig", kNoteLimit);
}

void OffsiteCopy::copyBackup(const Entry& entry, Kind kind, CopyReport& report) {
  const auto target = folder(name(kind) + "/" + entry.id);
  const auto signature = readFile(entry.directory.path() / "manifest.json.sig", kNoteLimit);
  // Sealed for other keys since: nothing, until all of it is there again.
  if (target.has("manifest.json")) target.forget("manifest.json");
  try {
    checkStored(entry.directory, *entry.manifest, progress_);
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    report.refused.emplace_back(error.what());
    return;
  }
  begin(progress_, {"copying", entry.manifest->storedSize()});
  for (const auto& file : entry.manifest->files) target.bring(file.path, report, progress_);
  target.bring("manifest.json.sig", report);
  target.bring("manifest.json", report);
  folder(name(kind)).known[entry.id] = 0;
  notes_[name(kind) + "/" + entry.id] = signature;
  report.files -= entry.manifest->files.size() + 2;
  noted_.erase(kind);
  ++report.backups;
}

// What was brought there, beside what others brought.
void OffsiteCopy::noteLedgerThere(Kind kind) {
  auto ledger = ledgerToWrite(there_, kind, keyring_);
  bool any = false;
  for (const auto& entry : Repository(here_, &keyring_, kind).list()) {
    if (!entry.good() || !folder(name(kind) + "/" + entry.id).has("manifest.json")) continue;
    ledger.add({entry.id, entry.manifest->sequence});
    any = true;
  }
  if (any) writeLedger(there_, kind, ledger, keyring_);
}

void OffsiteCopy::copyIncrements(CopyReport& report) {
  begin(progress_, {"copying increments"});
  for (const auto& full : storage::Place(here_ / "increments").list()) {
    if (!full.folder || !folder(name(Kind::Full)).has(full.name)) continue;
    const auto target = folder("increments/" + full.name);
    // How many were made: read first, so that it never tells of one that has not arrived.
    const auto promise = incrementsPromise(full.name);
    const auto made = readFileIfExists(here_ / "increments" / promise, kNoteLimit);
    for (const auto& item : storage::Place(target.here).list()) {
      if (startsWith(item.name, ".") || !endsWith(item.name, kRecord) || target.has(item.name)) continue;
      // The record is what makes the increment exist.
      target.bring(item.name.substr(0, item.name.size() - kRecord.size()) + ".pages.zst.age", report, progress_);
      target.bring(item.name, report);
    }
    if (!made || notes_["increments/" + promise] == *made) continue;
    (there_ / "increments").writeText(promise, *made);
    notes_["increments/" + promise] = *made;
  }
}

// Small files that may change: compared by content.
void OffsiteCopy::copyNotes(const std::string& name, bool may_vanish, CopyReport& report) {
  const auto target = folder(name);
  std::set<std::string> present;
  for (const auto& item : storage::Place(target.here).list()) {
    if (item.folder || startsWith(item.name, ".")) continue;
    present.insert(item.name);
    const auto text = readFile(target.here / item.name, kNoteLimit);
    auto [known, fresh] = notes_.try_emplace(name + "/" + item.name);
    if (fresh && target.has(item.name)) known->second = target.there.text(item.name, kNoteLimit).value_or("");
    if (target.has(item.name) && known->second == text) continue;
    target.bring(item.name, report);
    known->second = text;
  }
  if (!may_vanish) return;
  std::vector<std::string> gone;
  for (const auto& [known, size] : target.known) {
    if (present.count(known) == 0) gone.push_back(known);
  }
  for (const auto& file : gone) target.forget(file);
}

CopyReport OffsiteCopy::copyLog(const ArtifactOptions& sealing) {
  CopyReport report;
  const WalArchive log(here_ / "wal", keyring_);
  const auto lock = soleCopier(here_ / "wal" / ".offsite.lock", std::chrono::seconds(0));
  if (log.segmentSize() == 0) return report;  // nothing was received yet
  // Before the files are looked at: what they say is on disk by then.
  const auto promises = log.promises();
  auto status = log.readStatus();
  if (const auto promised = status ? promises.find(status->timeline) : promises.end(); promised != promises.end())
    status->flushed = std::max(status->flushed, promised->second.flushed);
  try {
    requireOurs();
    requireOurCluster();
    begin(progress_, {"copying the log"});
    copyGaps(report);
    for (const auto& [timeline, promised] : promises) beginThere(timeline);
    for (const auto timeline : log.timelines()) copySegments(timeline, report);
    if (status) {
      copyOpenSegment(log, *status, sealing, report);
      tellHowFar(*status);
    }
    for (const auto& [timeline, promised] : promises) confirmThere(promised);
  } catch (const Error& error) {
    known_.clear();  // asked anew next time
    if (wasStopped(error)) throw;
    auto known = offsiteLogStatus(here_).value_or(WalStatus{});
    known.problem = error.what();
    writeFileAtomically(here_ / "wal" / "offsite.json", toPrettyJson(describe(known)) + "\n", 0640);
    throw;
  }
  return report;
}

void OffsiteCopy::copyGaps(CopyReport& report) {
  const auto target = folder("wal");
  const auto text = readFileIfExists(target.here / kInterruptionsName, 16 * kNoteLimit);
  if (!text || notes_["wal/gaps"] == *text) return;
  target.bring(kInterruptionsName, report);
  notes_["wal/gaps"] = *text;
}

void OffsiteCopy::copySegments(std::uint32_t timeline, CopyReport& report) {
  const auto target = folder(fmt::format("wal/{:08X}", timeline));
  for (const auto& item : storage::Place(target.here).list()) {
    if (startsWith(item.name, ".") || !endsWith(item.name, kData)) continue;
    const auto name = item.name.substr(0, item.name.size() - kData.size());
    if (!target.has(item.name)) {
      target.bring(name + std::string(kRecord), report);
      target.bring(item.name, report, progress_);
    }
    forgetPieces(target, name);
  }
}

// Of a segment that is there as a whole: they have done their service. Also those that a run which died here left. A
// piece without its record would be damage, a record without its piece is nothing: so the records go last.
void OffsiteCopy::forgetPieces(const Folder& target, const std::string& segment) {
  std::vector<std::string> pieces, records;
  const auto prefix = segment + ".";
  for (auto known = target.known.lower_bound(prefix); known != target.known.end() && startsWith(known->first, prefix);
       ++known) {
    if (known->first == segment + std::string(kData) || known->first == segment + std::string(kRecord)) continue;
    (endsWith(known->first, kRecord) ? records : pieces).push_back(known->first);
  }
  for (const auto& piece : pieces) target.forget(piece);
  for (const auto& record : records) target.forget(record);
}

void OffsiteCopy::copyOpenSegment(const WalArchive& log, const WalStatus& status, const ArtifactOptions& sealing,
                                  CopyReport& report) {
  const auto size = log.segmentSize();
  for (const auto timeline : log.timelines()) {
    for (const auto& piece : log.pieces(timeline)) {
      if (piece.sealed) continue;
      const bool current = timeline == status.timeline && piece.segment.number == status.flushed / size;
      const auto end = current ? std::min(piece.size, status.flushed % size) : piece.size;
      const auto name = segmentName(piece.segment, size);
      const auto target = folder(fmt::format("wal/{:08X}", timeline));
      std::uint64_t from = 0;
      for (const auto& [known, ignored] : target.known) {
        if (const auto span = startsWith(known, name) ? WalArchive::spanOf(known) : std::nullopt)
          from = std::max(from, span->to);
      }
      if (end <= from) continue;
      const TemporaryDirectory scratch;
      for (const auto& file : log.sealPiece(piece.segment, {from, end}, sealing, scratch.path()))
        target.bring(file, scratch.path() / file, report);
    }
  }
}

void OffsiteCopy::tellHowFar(const WalStatus& status) {
  auto reached = status;
  reached.updated_at = nowMicros();
  reached.problem.clear();
  const auto text = toPrettyJson(describe(reached)) + "\n";
  writeFileAtomically(here_ / "wal" / "offsite.json", text, 0640);
  if (reached.flushed == told_ && reached.updated_at - told_at_ < kTellWhenIdle) return;
  (there_ / "wal").writeText("status.json", text);
  told_ = reached.flushed;
  told_at_ = reached.updated_at;
}

// A copy that is interrupted before the first confirmation would look as if that had been taken away.
void OffsiteCopy::beginThere(std::uint32_t timeline) {
  const auto target = folder(fmt::format("wal/{:08X}", timeline));
  if (!target.known.empty() || target.there.size(kConfirmedName)) return;
  ConfirmedLog begun{timeline, 0, 0, nowMicros(), {}};
  begun.copy = true;
  const auto text = confirmedText(begun, keyring_);
  target.there.writeText(kConfirmedName, text);
  target.known[kConfirmedName] = text.size();
}

// What was confirmed here has arrived there; the pieces of the open segment have digests of their own.
void OffsiteCopy::confirmThere(ConfirmedLog promised) {
  promised.open_sha256.clear();
  promised.copy = true;
  auto& told = promised_[promised.timeline];
  const bool news = promised.flushed != told.flushed;
  if (!news && (promised.durable_through == told.durable_through || nowMicros() - told.at < kTellWhenIdle)) return;
  promised.at = nowMicros();
  (there_ / "wal" / fmt::format("{:08X}", promised.timeline))
      .writeText(kConfirmedName, confirmedText(promised, keyring_));
  if (told.flushed == 0) noteTimelineThere(promised.timeline);
  told = promised;
}

// Once a run, also when it is known there: signed with the key of today.
void OffsiteCopy::noteTimelineThere(std::uint32_t timeline) {
  std::set<std::uint32_t> timelines{timeline};
  for (const auto& place : {there_ / "wal", storage::Place(here_ / "wal")}) {
    try {
      timelines.merge(readConfirmedTimelines(place, keyring_).value_or(std::set<std::uint32_t>()));
    } catch (const Error& error) {
      if (error.code() != Code::Damaged) throw;
      log::warning("{}; it is written anew", error.what());
    }
  }
  (there_ / "wal").writeText(kTimelinesName, confirmedTimelinesText(timelines, keyring_));
}

std::optional<OffsiteStatus> offsiteStatus(const fs::path& here) {
  const auto text = readFileIfExists(here / "offsite.json", kNoteLimit);
  const auto value = text ? tryParseJson(*text) : std::nullopt;
  const auto* object = value ? value->if_object() : nullptr;
  if (object == nullptr) return std::nullopt;
  return OffsiteStatus{jsonTextOr(*object, "place", ""), fromIso(jsonTextOr(*object, "at", "")).value_or(0),
                       fromIso(jsonTextOr(*object, "complete_at", "")).value_or(0), jsonTextOr(*object, "problem", "")};
}

std::optional<WalStatus> offsiteLogStatus(const fs::path& here) {
  const auto text = readFileIfExists(here / "wal" / "offsite.json", kNoteLimit);
  return text ? parseWalStatus(*text) : std::nullopt;
}

}  // namespace aragora::backup
