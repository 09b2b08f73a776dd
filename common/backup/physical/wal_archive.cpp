#include "common/backup/physical/wal_archive.h"

#include <thread>

#include "common/backup/physical/file_for_recovery.h"
#include "common/backup/physical/wal_files.h"
#include "common/backup/physical/wal_pages.h"
#include "common/backup/signed_record.h"
#include "common/base/error.h"
#include "common/base/scratch.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kRecordLimit = 64 * 1024;
constexpr auto kSealingTime = std::chrono::milliseconds(500);
}  // namespace

storage::Place WalArchive::folder(std::string_view name) const { return directory_ / std::string(name.substr(0, 8)); }
storage::Place WalArchive::folder(std::uint32_t timeline) const { return directory_ / fmt::format("{:08X}", timeline); }

void WalArchive::claim(const std::string& system_identifier, std::uint64_t segment_size) {
  makeDirectories(directory_.path(), 0750);
  const auto path = directory_.path() / "cluster.json";
  const auto known = readFileIfExists(path, kRecordLimit);
  if (!known) {
    const json::object object{{"system_identifier", system_identifier}, {"segment_size", segment_size}};
    return writeFileAtomically(path, toPrettyJson(object) + "\n", 0640);
  }
  const auto value = tryParseJson(*known);
  const auto* object = value ? value->if_object() : nullptr;
  if (object == nullptr) throw Error(Code::Damaged, fmt::format("{} cannot be read", path.string()));
  if (jsonTextOr(*object, "system_identifier", "") != system_identifier)
    throw Error(Code::Conflict,
                fmt::format("{} holds the log of another cluster ({}, not {})", directory_.describe(),
                            printable(jsonTextOr(*object, "system_identifier", ""), 30), system_identifier),
                "give each cluster a backup directory of its own");
}

std::string WalArchive::systemIdentifier() const {
  const auto known = directory_.text("cluster.json", kRecordLimit);
  const auto value = known ? tryParseJson(*known) : std::nullopt;
  const auto* object = value ? value->if_object() : nullptr;
  return object != nullptr ? jsonTextOr(*object, "system_identifier", "") : std::string();
}

std::uint64_t WalArchive::segmentSize() const {
  const auto known = directory_.text("cluster.json", kRecordLimit);
  const auto value = known ? tryParseJson(*known) : std::nullopt;
  const auto* object = value ? value->if_object() : nullptr;
  const auto size = object != nullptr ? jsonIntegerOr(*object, "segment_size", 0) : 0;
  // 1 MiB to 1 GiB, a power of two: initdb --wal-segsize.
  const bool possible = size >= 1 << 20 && size <= 1 << 30 && (size & (size - 1)) == 0;
  if (known && !possible)
    throw Error(Code::Damaged, fmt::format("{} names no segment size", (directory_ / "cluster.json").describe()));
  return possible ? static_cast<std::uint64_t>(size) : 0;
}

namespace {
void removeUnfinished(const fs::path& directory) {
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(directory, ignored)) {
    if (item.path().filename().string().find(".tmp-") != std::string::npos) fs::remove(item.path(), ignored);
  }
}
}  // namespace

FileLock WalArchive::lock() const {
  makeDirectories(directory_.path(), 0750);
  auto lock = FileLock::acquire(directory_.path() / ".lock",
                                fmt::format("another receiver writes to {}", directory_.describe()));
  removeUnfinished(directory_.path());
  for (const auto timeline : timelines()) removeUnfinished(folder(timeline).path());
  return lock;
}

fs::path WalArchive::partialPath(const WalSegment& segment) const {
  const auto name = segmentName(segment, segmentSize());
  const auto directory = folder(name).path();
  makeDirectories(directory, 0750);
  return directory / (name + std::string(kPartial));
}

std::optional<WalArchive::Span> WalArchive::spanOf(std::string_view file) {
  // 24 characters of segment, then .xxxxxxxx-xxxxxxxx.zst.age
  if (file.size() != 24 + 18 + kSealed.size() || file[24] != '.' || file[33] != '-' || !endsWith(file, kSealed))
    return std::nullopt;
  const auto number = [&](std::size_t at) -> std::optional<std::uint64_t> {
    const auto bytes = fromHex(file.substr(at, 8));
    if (!bytes) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : *bytes) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  };
  const auto from = number(25);
  const auto to = number(34);
  if (!from || !to || *to <= *from) return std::nullopt;
  return Span{*from, *to};
}

std::optional<FileRecord> WalArchive::readRecord(const std::string& segment, const std::string& name) const {
  const auto object = readSignedRecord(folder(segment), name + std::string(kRecord), keyring_);
  if (!object) return std::nullopt;
  auto record = describedFile(*object);
  if (record.path != sealedName(name))
    throw Error(Code::Damaged,
                fmt::format("{}: is of another file", (folder(segment) / (name + std::string(kRecord))).describe()),
                "recover to a moment before it, or from another copy");
  return record;
}

namespace {
// In the order of their names; after a restart one may begin again where the last known one did.
void addSpan(std::vector<WalListing::Span>& spans, const WalListing::Span& span) {
  const auto known = spans.empty() ? 0 : spans.back().to;
  if (span.from > known || span.to <= known) return;
  while (!spans.empty() && spans.back().from >= span.from) spans.pop_back();
  spans.push_back(span);
}
}  // namespace

std::map<std::uint64_t, WalListing::Segment> WalArchive::segments(std::uint32_t timeline) const {
  const auto size = segmentSize();
  std::map<std::uint64_t, WalListing::Segment> found;
  if (size == 0) return found;
  std::optional<bool> copy;  // asked only where there is an open segment
  for (const auto& item : folder(timeline).list()) {
    const auto name = parseSegmentName(std::string_view(item.name).substr(0, 24), size);
    if (!name || name->timeline != timeline || item.folder) continue;
    const auto rest = item.name.substr(24);
    const auto span = spanOf(item.name);
    if (rest != kSealed && rest != kPartial && !span) continue;
    auto& segment = found[name->number];
    if (rest == kSealed) {
      segment.sealed = true;
    } else if (rest == kPartial) {
      if (!copy) copy = isCopy(timeline);
      if (*copy) continue;
      segment.open = true;
      segment.size = std::min(size, item.size);
    } else {
      addSpan(segment.spans, *span);
    }
  }
  for (auto& [number, segment] : found) {
    if (segment.sealed) segment.size = size;
    if (!segment.sealed && !segment.open && !segment.spans.empty())
      segment.size = std::min(size, segment.spans.back().to);
  }
  std::erase_if(found, [](const auto& item) { return item.second.size == 0; });
  return found;
}

// What is not signed is believed only where the receiver itself writes.
bool WalArchive::isCopy(std::uint32_t timeline) const {
  if (!directory_.isLocal()) return true;
  try {
    const auto promised = confirmed(timeline);
    return promised && promised->copy;
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    return true;
  }
}

WalListing WalArchive::listing() const {
  WalListing listing;
  listing.segment_size = segmentSize();
  if (listing.segment_size == 0) return listing;
  for (const auto timeline : timelines()) {
    auto segments = this->segments(timeline);
    if (segments.empty()) continue;
    if (segments.rbegin()->first - segments.begin()->first >= segments.size()) {
      // A hole, or a listing that met the receiver while it completed a segment.
      std::this_thread::sleep_for(kSealingTime);
      segments = this->segments(timeline);
    }
    listing.log[timeline] = std::move(segments);
    listing.branches[timeline] = parseHistory(timeline, history(timeline));
  }
  listing.forged = forgedInterruptions();
  if (listing.forged.empty()) listing.interruptions = interruptions();
  return listing;
}

// Empty where there is none to read: of the first timeline, and on a machine that may only write backups.
std::string WalArchive::history(std::uint32_t timeline) const {
  std::string text;
  if (timeline < 2 || !keyring_.opensBackups()) return text;
  const auto name = historyName(timeline);
  const auto record = readRecord(name, name);
  if (!record) recordIsMissing(folder(timeline), name);
  readArtifact(folder(timeline), *record, keyring_.backupIdentities(), [&](std::string_view bytes) { text += bytes; });
  return text;
}

std::vector<WalArchive::Piece> WalArchive::pieces(std::uint32_t timeline) const {
  std::vector<Piece> result;
  for (const auto& [number, segment] : segments(timeline))
    result.push_back({{timeline, number}, segment.size, segment.sealed});
  return result;
}

bool WalArchive::fetch(const std::string& name, const fs::path& destination) const {
  return fetch(listing(), name, destination);
}

bool WalArchive::fetch(const WalListing& listing, const std::string& name, const fs::path& destination, Lsn end) const {
  const auto size = listing.segment_size;
  const auto wanted = size > 0 ? parseSegmentName(name, size) : std::nullopt;
  if (!wanted && !isHistoryName(name)) return false;  // .backup files: recovery does without
  if (!wanted) {
    const auto record = readRecord(name, name);
    if (!record) return false;
    FileForRecovery file(destination);
    readArtifact(folder(name), *record, keyring_.backupIdentities(),
                 [&](std::string_view bytes) { file.write(bytes); });
    file.finish();
    return true;
  }
  const auto begin = wanted->number * size;
  if (begin >= end) return false;
  const auto* segment = listing.find(wanted->timeline, wanted->number);
  if (segment == nullptr) {
    // Ending recovery here would silently lose what comes after.
    if (listing.end(wanted->timeline) > begin)
      throw Error(
          Code::NoInput,
          fmt::format("{} is missing and the log goes on to {}", name, formatLsn(listing.end(wanted->timeline))),
          "recover to a moment before it, or from a base backup after it");
    return false;
  }
  FileForRecovery file(destination, size);
  auto left = std::min(size, end - begin);
  const auto take = [&](std::string_view bytes) {
    const auto part = bytes.substr(0, left);
    left -= part.size();
    file.write(part);
  };
  // The receiver may have completed it since it was listed.
  if (!readSegment(*segment, name, take) && !readSegment({.sealed = true, .spans = {}}, name, take)) return false;
  file.fillUpTo(size);
  file.finish();
  return true;
}

namespace {
// For a recovery: the signed digest of what is stored, the seals of age and zstd's sum of the content are held against
// it on the way, PostgreSQL holds its own against every record. The digest of the content takes as long as all of that
// together, and is what check() computes.
FileRecord asStored(FileRecord record) {
  record.plain_sha256.clear();
  return record;
}
}  // namespace

// False when it is not there any more.
bool WalArchive::readSegment(const WalListing::Segment& segment, const std::string& name, const ByteSink& sink) const {
  if (segment.sealed) {
    const auto record = readRecord(name, name);
    if (!record) recordIsMissing(folder(name), name);
    readArtifact(folder(name), asStored(*record), keyring_.backupIdentities(), sink);
    return true;
  }
  if (segment.open) {
    PageFilter pages(*parseSegmentName(name, segmentSize()), segmentSize(), systemIdentifier(),
                     (folder(name) / (name + std::string(kPartial))).describe());
    if (!folder(name).read(name + std::string(kPartial), [&](std::string_view bytes) { pages.take(bytes, sink); }))
      return false;
    pages.finish(sink);
    return true;
  }
  readPieces(segment, name, sink);
  return true;
}

void WalArchive::readPieces(const WalListing::Segment& segment, const std::string& name, const ByteSink& sink) const {
  const auto place = folder(name);
  std::uint64_t written = 0;
  for (const auto& span : segment.spans) {
    const auto piece = pieceName(name, span);
    const auto record = readRecord(name, piece);
    if (!record) recordIsMissing(place, piece);
    if (record->plain_size != span.to - span.from)
      throw Error(Code::Damaged, fmt::format("{}: is not as long as its name says", (place / piece).describe()));
    auto skip = written - span.from;
    readArtifact(place, asStored(*record), keyring_.backupIdentities(), [&](std::string_view bytes) {
      const auto known = std::min<std::uint64_t>(skip, bytes.size());
      skip -= known;
      sink(bytes.substr(known));
    });
    written = span.to;
  }
}

std::string WalArchive::bytes(const WalListing& listing, std::uint32_t timeline, Lsn from, Lsn to) const {
  std::string result;
  const auto size = listing.segment_size;
  for (auto number = from / size; number * size < to; ++number) {
    const auto* segment = listing.find(timeline, number);
    if (segment == nullptr) return result;
    Lsn at = number * size;
    readSegment(*segment, segmentName({timeline, number}, size), [&](std::string_view block) {
      const auto begin = std::max(at, from);
      const auto end = std::min<Lsn>(at + block.size(), to);
      if (begin < end) result += block.substr(begin - at, end - begin);
      at += block.size();
    });
  }
  return result;
}

std::vector<std::uint32_t> WalArchive::timelines() const {
  std::vector<std::uint32_t> result;
  for (const auto& item : directory_.list()) {
    if (item.folder && isHistoryName(item.name + ".history"))
      result.push_back(static_cast<std::uint32_t>(std::stoul(item.name, nullptr, 16)));
  }
  std::sort(result.begin(), result.end());
  return result;
}

std::optional<WalArchive::Piece> WalArchive::newestPiece() const {
  const auto known = timelines();
  for (auto timeline = known.rbegin(); timeline != known.rend(); ++timeline) {
    const auto all = pieces(*timeline);
    if (!all.empty()) return all.back();
  }
  return std::nullopt;
}

std::size_t WalArchive::removeBefore(const std::vector<WalSegment>& starts) const {
  std::size_t removed = 0;
  if (starts.empty()) return removed;
  for (const auto timeline : timelines()) {
    std::optional<std::uint64_t> leading;
    auto lowest = starts.front().number;
    for (const auto& start : starts) {
      lowest = std::min(lowest, start.number);
      if (start.timeline <= timeline) leading = std::min(leading.value_or(start.number), start.number);
    }
    for (const auto& piece : pieces(timeline)) {
      if (!piece.sealed || piece.segment.number >= leading.value_or(lowest)) continue;
      const auto name = segmentName(piece.segment, segmentSize());
      folder(name).remove(sealedName(name));
      folder(name).remove(name + std::string(kRecord));
      ++removed;
    }
  }
  return removed;
}

void WalArchive::writeStatus(const WalStatus& status) const {
  writeFileAtomically(directory_.path() / "status.json", toPrettyJson(describe(status)) + "\n", 0640);
}

std::optional<WalStatus> WalArchive::readStatus() const {
  const auto text = directory_.text("status.json", kRecordLimit);
  return text ? parseWalStatus(*text) : std::nullopt;
}

}  // namespace aragora::backup
