#include "common/backup/physical/wal_archive.h"

#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include "common/backup/physical/wal_files.h"
#include "common/backup/signed_record.h"
#include "common/base/error.h"
#include "common/base/scratch.h"
#include "common/base/text.h"

namespace aragora::backup {

namespace {
constexpr std::size_t kRecordLimit = 64 * 1024;
constexpr auto kSealingTime = std::chrono::milliseconds(500);
constexpr std::size_t kGapsLimit = 16U << 20;

// PostgreSQL must never see half a file under the name that it asked for.
class Destination {
 public:
  explicit Destination(const fs::path& path)
      : path_(path),
        temporary_(path.string() + ".aragora"),
        fd_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {
    if (!fd_.valid()) throwSystemError(Code::CannotCreate, "create", temporary_.string(), errno);
  }
  void write(std::string_view bytes) {
    writeAll(fd_.get(), bytes, temporary_);
    size_ += bytes.size();
  }
  void fillUpTo(std::uint64_t size) {
    if (size_ < size && ::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
      throwSystemError(Code::Io, "extend", temporary_.string(), errno);
  }
  void finish() {
    syncFile(fd_.get(), temporary_);
    renameDurably(temporary_, path_);
  }

 private:
  fs::path path_;
  fs::path temporary_;
  Fd fd_;
  std::uint64_t size_ = 0;
};
}  // namespace

storage::Place WalArchive::folder(std::string_view name) const { return directory_ / std::string(name.substr(0, 8)); }

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
  for (const auto timeline : timelines()) removeUnfinished((directory_ / fmt::format("{:08X}", timeline)).path());
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

// What of the open segment was sealed: without holes, from its beginning.
std::vector<WalArchive::Span> WalArchive::spans(const std::string& segment) const {
  std::vector<Span> result;
  for (const auto& item : folder(segment).list()) {
    const auto span = startsWith(item.name, segment) ? spanOf(item.name) : std::nullopt;
    // In the order of their names; after a restart one may begin again where the last known one did.
    const auto known = result.empty() ? 0 : result.back().to;
    if (!span || span->from > known || span->to <= known) continue;
    while (!result.empty() && result.back().from >= span->from) result.pop_back();
    result.push_back(*span);
  }
  return result;
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
bool holds(const storage::Place& folder, const std::string& name) {
  const auto items = folder.list();
  return std::any_of(items.begin(), items.end(),
                     [&](const storage::Item& item) { return item.name == name && !item.folder; });
}

[[noreturn]] void recordIsMissing(const storage::Place& folder, const std::string& name) {
  throw Error(Code::Damaged, fmt::format("{}: is missing", (folder / (name + std::string(kRecord))).describe()),
              "recover to a moment before it, or from another copy");
}
}  // namespace

bool WalArchive::fetch(const std::string& name, const fs::path& destination) const {
  const auto size = segmentSize();
  const auto segment = size > 0 ? parseSegmentName(name, size) : std::nullopt;
  if (!segment && !isHistoryName(name)) return false;  // .backup files: recovery does without
  const auto place = folder(name);
  if (holds(place, sealedName(name))) {
    const auto record = readRecord(name, name);
    if (!record) recordIsMissing(place, name);
    Destination file(destination);
    readArtifact(place, *record, keyring_.backupIdentities(), [&](std::string_view bytes) { file.write(bytes); });
    file.finish();
    return true;
  }
  if (!segment) return false;
  if (fetchOpen(name, destination, size)) return true;
  // Ending recovery here would silently lose what comes after.
  for (const auto& piece : pieces(segment->timeline)) {
    if (piece.segment.number > segment->number)
      throw Error(Code::NoInput,
                  fmt::format("{} is missing and the log goes on at {}", name, segmentName(piece.segment, size)),
                  "recover to a moment before it, or from a base backup after it");
  }
  return false;
}

// The open segment, filled up with zeros: the plain file here, its sealed pieces elsewhere.
bool WalArchive::fetchOpen(const std::string& name, const fs::path& destination, std::uint64_t size) const {
  const auto place = folder(name);
  if (holds(place, name + std::string(kPartial))) {
    Destination file(destination);
    place.read(name + std::string(kPartial), [&](std::string_view bytes) { file.write(bytes); });
    file.fillUpTo(size);
    file.finish();
    return true;
  }
  const auto sealed = spans(name);
  if (sealed.empty()) return false;
  Destination file(destination);
  std::uint64_t written = 0;
  for (const auto& span : sealed) {
    const auto piece = pieceName(name, span);
    const auto record = readRecord(name, piece);
    if (!record) recordIsMissing(place, piece);
    if (record->plain_size != span.to - span.from)
      throw Error(Code::Damaged, fmt::format("{}: is not as long as its name says", (place / piece).describe()));
    auto skip = written - span.from;
    readArtifact(place, *record, keyring_.backupIdentities(), [&](std::string_view bytes) {
      const auto known = std::min<std::uint64_t>(skip, bytes.size());
      skip -= known;
      file.write(bytes.substr(known));
    });
    written = span.to;
  }
  file.fillUpTo(size);
  file.finish();
  return true;
}

std::vector<WalArchive::Piece> WalArchive::pieces(std::uint32_t timeline) const {
  const auto size = segmentSize();
  std::map<WalSegment, Piece> found;
  if (size == 0) return {};
  for (const auto& item : (directory_ / fmt::format("{:08X}", timeline)).list()) {
    const auto segment = parseSegmentName(std::string_view(item.name).substr(0, 24), size);
    if (!segment || segment->timeline != timeline) continue;
    auto& piece = found[*segment];
    piece.segment = *segment;
    const auto rest = item.name.substr(24);
    if (rest == kSealed) {
      piece.sealed = true;
      piece.size = size;
    } else if (piece.sealed) {
      continue;
    } else if (rest == kPartial) {
      piece.size = std::min(size, item.size);
    } else if (const auto span = spanOf(item.name); span && span->from <= piece.size) {
      piece.size = std::max(piece.size, std::min(size, span->to));
    }
  }
  std::vector<Piece> result;
  for (const auto& [segment, piece] : found) {
    if (piece.size > 0) result.push_back(piece);
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

WalArchive::Reach WalArchive::reachOn(std::uint32_t timeline, Lsn start) const {
  const auto size = segmentSize();
  Reach reach{timeline, start, false};
  if (size == 0) return reach;
  auto wanted = start / size;
  for (const auto& piece : pieces(timeline)) {
    if (piece.segment.number < wanted) continue;
    if (piece.segment.number > wanted) {
      reach.gap = true;
      return reach;
    }
    reach.end = std::max(reach.end, wanted * size + piece.size);
    if (piece.size < size) {
      ++wanted;  // anything later is behind a gap
      continue;
    }
    ++wanted;
  }
  return reach;
}

WalArchive::Reach WalArchive::reach(std::uint32_t timeline, Lsn start) const {
  // The newest timeline whose history leads through ours; each line of a history is «parent, where it was left».
  const auto size = segmentSize();
  auto result = reachOn(timeline, start);
  for (const auto newer : timelines()) {
    if (newer <= timeline) continue;
    const TemporaryDirectory scratch;
    const auto file = scratch.path() / "history";
    if (!fetch(historyName(newer), file)) continue;
    std::optional<Lsn> left_ours;
    std::optional<Lsn> left_parent;
    for (const auto& line : split(readFile(file, kRecordLimit), '\n')) {
      const auto words = split(replaceAll(line, "\t", " "), ' ');
      if (words.size() < 2 || startsWith(words[0], "#")) continue;
      left_parent = parseLsn(words[1]);
      if (parseInteger(words[0]) == static_cast<std::int64_t>(timeline)) left_ours = left_parent;
    }
    if (!left_ours || !left_parent || result.end < *left_ours / size * size) continue;
    const auto further = reachOn(newer, *left_parent / size * size);
    if (further.end > *left_parent) result = further;
  }
  return result;
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

std::size_t WalArchive::check(const WalSegment& from, bool content) const {
  const auto size = segmentSize();
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
  for (const auto timeline : timelines()) {
    if (timeline < from.timeline) continue;
    if (holds(folder(historyName(timeline)), sealedName(historyName(timeline))))
      one(historyName(timeline), historyName(timeline));
    for (const auto& piece : pieces(timeline)) {
      const auto name = segmentName(piece.segment, size);
      if (timeline == from.timeline && piece.segment.number < from.number) continue;
      if (piece.sealed) {
        one(name, name);
      } else {
        for (const auto& span : spans(name)) one(name, pieceName(name, span));
      }
    }
  }
  auto reached = reach(from.timeline, from.number * size);
  if (reached.gap) {  // or a listing that met the receiver while it completed a segment
    std::this_thread::sleep_for(kSealingTime);
    reached = reach(from.timeline, from.number * size);
  }
  if (reached.gap && !gapIsRecorded(reached.timeline, reached.end))
    throw Error(Code::Damaged,
                fmt::format("{}: the log from {} on is missing and goes on later", directory_.describe(),
                            formatLsn(reached.end)),
                "recover to a moment before it, or from another copy; then: aragora backup create --kind base");
  return checked;
}

void WalArchive::recordGap(std::uint32_t timeline, Lsn after, const std::string& why) const {
  auto known = directory_.text("gaps.jsonl", kGapsLimit).value_or("");
  known += toJson(json::object{
               {"at", toIso(nowMicros())}, {"timeline", timeline}, {"after", formatLsn(after)}, {"why", why}}) +
           "\n";
  writeFileAtomically(directory_.path() / "gaps.jsonl", known, 0640);
}

bool WalArchive::gapIsRecorded(std::uint32_t timeline, Lsn after) const {
  const auto size = segmentSize();
  for (const auto& line : split(directory_.text("gaps.jsonl", kGapsLimit).value_or(""), '\n')) {
    const auto value = tryParseJson(line);
    const auto* object = value ? value->if_object() : nullptr;
    if (object == nullptr || jsonIntegerOr(*object, "timeline", 0) != timeline) continue;
    // What was written and not yet synced when it was recorded may be there or not.
    const auto at = parseLsn(jsonTextOr(*object, "after", "")).value_or(0);
    if (after + size >= at && at + size >= after) return true;
  }
  return false;
}

void WalArchive::writeStatus(const WalStatus& status) const {
  writeFileAtomically(directory_.path() / "status.json", toPrettyJson(describe(status)) + "\n", 0640);
}

std::optional<WalStatus> WalArchive::readStatus() const {
  const auto text = directory_.text("status.json", kRecordLimit);
  return text ? parseWalStatus(*text) : std::nullopt;
}

}  // namespace aragora::backup
