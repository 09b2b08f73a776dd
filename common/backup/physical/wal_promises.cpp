// What the archive promises, what it knows to be missing, and whether that holds.
#include <algorithm>

#include "common/backup/physical/recovery_window.h"
#include "common/backup/physical/wal_files.h"
#include "common/backup/signed_record.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::backup {

std::optional<ConfirmedLog> WalArchive::confirmed(std::uint32_t timeline) const {
  return readConfirmed(folder(timeline), keyring_);
}

void WalArchive::confirm(const ConfirmedLog& confirmed) const {
  const auto directory = folder(confirmed.timeline).path();
  makeDirectories(directory, 0750);
  writeFileAtomically(directory / kConfirmedName, confirmedText(confirmed, keyring_), 0640);
  auto timelines = confirmedTimelines().value_or(std::set<std::uint32_t>());
  if (timelines.empty()) {  // the first time: those of before are known by their promises
    for (const auto& [timeline, ignored] : promises()) timelines.insert(timeline);
  } else if (!timelines.insert(confirmed.timeline).second) {
    return;
  }
  writeFileAtomically(directory_.path() / kTimelinesName, confirmedTimelinesText(timelines, keyring_), 0640);
}

void WalArchive::begin(std::uint32_t timeline) const {
  if (segments(timeline).empty() && !confirmed(timeline)) confirm({timeline, 0, 0, nowMicros(), {}});
}

std::optional<std::set<std::uint32_t>> WalArchive::confirmedTimelines() const {
  return readConfirmedTimelines(directory_, keyring_);
}

std::string WalArchive::shortOf(const WalListing& listing, const ConfirmedLog& confirmed) const {
  const auto size = listing.segment_size;
  const auto end = listing.end(confirmed.timeline);
  const auto promised =
      fmt::format("timeline {} was confirmed through {}", confirmed.timeline, formatLsn(confirmed.flushed));
  if (end < confirmed.flushed)
    return fmt::format("{}, the log in {} ends at {}: {} confirmed bytes are missing", promised, directory_.describe(),
                       end == 0 ? "nowhere" : formatLsn(end), confirmed.flushed - end);
  const auto* segment = size > 0 ? listing.find(confirmed.timeline, confirmed.flushed / size) : nullptr;
  if (confirmed.open_sha256.empty() || segment == nullptr || segment->sealed || !segment->open) return {};
  crypto::Sha256 hash;
  auto left = confirmed.flushed % size;
  const auto name = segmentName({confirmed.timeline, confirmed.flushed / size}, size);
  const bool there = readSegment(*segment, name, [&](std::string_view block) {
    const auto part = block.substr(0, left);
    left -= part.size();
    hash.update(part);
  });
  if (!there || (left == 0 && hash.finishHex() == confirmed.open_sha256)) return {};  // or it was completed meanwhile
  return fmt::format("{}, and {} does not hold what was confirmed", promised,
                     (folder(name) / (name + std::string(kPartial))).describe());
}

std::string WalArchive::withoutPromise(const WalListing& listing, std::uint32_t timeline) const {
  const auto known = confirmedTimelines();
  const bool there = listing.end(timeline) > 0;
  // Without a list nobody can tell; with one, a timeline that is not in it has only just begun.
  if (known ? known->count(timeline) == 0 : !there) return {};
  const auto name = (folder(timeline) / kConfirmedName).describe();
  if (!there) return fmt::format("the log of timeline {} was confirmed and is gone: {} is missing", timeline, name);
  return fmt::format("nothing says how far the log of timeline {} was confirmed: {} is missing", timeline, name);
}

std::map<std::uint32_t, ConfirmedLog> WalArchive::promises() const {
  std::map<std::uint32_t, ConfirmedLog> result;
  for (const auto timeline : timelines()) {
    if (const auto promised = confirmed(timeline)) result[timeline] = *promised;
  }
  return result;
}

std::size_t WalArchive::check(const PhysicalRecord& base, bool content) const {
  std::size_t checked = 0;
  const auto one = [&](const std::string& segment, const std::string& name) {
    const auto record = readRecord(segment, name);
    if (!record) recordIsMissing(folder(segment), name);
    if (content)
      readArtifact(folder(segment), *record, keyring_.backupIdentities(), [](std::string_view) {});
    else
      checkStored(folder(segment), *record);
    ++checked;
  };
  const auto promised = promises();  // before the listing: what came since is no part of it
  const auto listing = this->listing();
  const auto start = logNeededFrom(listing, base);
  const WalSegment from{base.timeline, start / listing.segment_size};
  if (!listing.forged.empty())
    throw Error(Code::Damaged, listing.forged, "remove it; then: aragora backup create --kind base");
  for (const auto& [timeline, segments] : listing.log) {
    if (timeline < from.timeline) continue;
    if (timeline > 1) one(historyName(timeline), historyName(timeline));
    for (const auto& [number, segment] : segments) {
      if (timeline == from.timeline && number < from.number) continue;
      const auto name = segmentName({timeline, number}, listing.segment_size);
      if (segment.sealed) {
        one(name, name);
        continue;  // pieces that are still beside it are not what a recovery reads
      }
      for (const auto& span : segment.spans) one(name, pieceName(name, span));
    }
  }
  for (const auto& [timeline, confirmed] : promised) {
    if (timeline < from.timeline) continue;
    if (const auto missing = shortOf(listing, confirmed); !missing.empty())
      throw Error(Code::Damaged, missing, "recover from another copy; then: aragora backup create --kind base");
  }
  for (const auto timeline : confirmedTimelines().value_or(std::set<std::uint32_t>())) {
    if (timeline < from.timeline || promised.count(timeline) > 0) continue;
    if (const auto missing = withoutPromise(listing, timeline); !missing.empty())
      throw Error(Code::Damaged, missing, "recover from another copy; then: aragora backup create --kind base");
  }
  const auto reached = listing.reach(base.timeline, base.stop, start);
  if (reached.gap && !recorded(listing, reached))
    throw Error(Code::Damaged,
                fmt::format("{}: the log from {} on is missing and goes on later", directory_.describe(),
                            formatLsn(reached.end)),
                "recover to a moment before it, or from another copy; then: aragora backup create --kind base");
  return checked;
}

void WalArchive::checkBranch(const WalListing& listing, const std::vector<std::string>& names) const {
  for (const auto& name : names) {
    const auto segment = parseSegmentName(name, listing.segment_size);
    const auto* known = segment ? listing.find(segment->timeline, segment->number) : nullptr;
    if (known == nullptr || !known->sealed) continue;
    const auto record = readRecord(name, name);
    if (!record) recordIsMissing(folder(name), name);
    checkStored(folder(name), *record);
  }
}

// What was written and not yet synced when it was recorded may be there or not.
bool WalArchive::recorded(const WalListing& listing, const Reach& reached) {
  const auto size = listing.segment_size;
  return std::any_of(listing.interruptions.begin(), listing.interruptions.end(), [&](const auto& known) {
    return known.timeline == reached.timeline && reached.end + size >= known.after && known.after + size >= reached.end;
  });
}

void WalArchive::record(const WalListing::Interruption& interruption) const {
  json::array list;
  try {
    const auto known = readSignedRecord(directory_, kInterruptionsName, keyring_);
    if (const auto* before = known ? jsonArray(*known, "interruptions") : nullptr) list = *before;
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    log::warning("{}; it is written anew", error.what());
  }
  list.push_back(json::object{{"at", toIso(nowMicros())},
                              {"timeline", interruption.timeline},
                              {"after", formatLsn(interruption.after)},
                              {"replayable", interruption.replayable},
                              {"why", interruption.why}});
  writeFileAtomically(directory_.path() / kInterruptionsName,
                      signedRecord({{"interruptions", std::move(list)}}, keyring_), 0640);
}

std::string WalArchive::forgedInterruptions() const {
  try {
    interruptions();
    return {};
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    return error.what();
  }
}

std::vector<WalListing::Interruption> WalArchive::interruptions() const {
  std::vector<WalListing::Interruption> result;
  const auto known = readSignedRecord(directory_, kInterruptionsName, keyring_);
  const auto* list = known ? jsonArray(*known, "interruptions") : nullptr;
  for (const auto& one : list != nullptr ? *list : json::array()) {
    const auto* object = one.if_object();
    if (object == nullptr) continue;
    result.push_back({static_cast<std::uint32_t>(jsonIntegerOr(*object, "timeline", 0)),
                      parseLsn(jsonTextOr(*object, "after", "")).value_or(0), jsonFlagOr(*object, "replayable", true),
                      jsonTextOr(*object, "why", "")});
  }
  return result;
}

}  // namespace aragora::backup
