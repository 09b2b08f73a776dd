#include "common/backup/physical/wal_archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/crypto/hash.h"

namespace aragora::backup {

namespace {
constexpr std::string_view kSealed = ".zst.age";
constexpr std::string_view kPartial = ".partial";
constexpr std::string_view kRecord = ".json";
constexpr std::size_t kRecordLimit = 64 * 1024;
constexpr std::size_t kBlock = 1U << 20;

std::string sealedName(const std::string& name) { return name + std::string(kSealed); }

std::uint64_t sizeOf(const fs::path& path) {
  std::error_code failed;
  const auto size = fs::file_size(path, failed);
  return failed ? 0 : size;
}

// Appends the file's bytes to `sink`.
void readThrough(const fs::path& path, const ByteSink& sink) {
  const Fd fd = openForReading(path);
  std::vector<char> buffer(kBlock);
  while (true) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throwSystemError(Code::Io, "read", path.string(), errno);
    if (got == 0) return;
    sink(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
  }
}

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

fs::path WalArchive::folder(std::string_view name) const { return directory_ / std::string(name.substr(0, 8)); }

void WalArchive::claim(const std::string& system_identifier, std::uint64_t segment_size) {
  makeDirectories(directory_, 0750);
  const auto path = directory_ / "cluster.json";
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
                fmt::format("{} holds the log of another cluster ({}, not {})", directory_.string(),
                            printable(jsonTextOr(*object, "system_identifier", ""), 30), system_identifier),
                "give each cluster a backup directory of its own");
}

std::uint64_t WalArchive::segmentSize() const {
  const auto known = readFileIfExists(directory_ / "cluster.json", kRecordLimit);
  const auto value = known ? tryParseJson(*known) : std::nullopt;
  const auto* object = value ? value->if_object() : nullptr;
  const auto size = object != nullptr ? jsonIntegerOr(*object, "segment_size", 0) : 0;
  // 1 MiB to 1 GiB, a power of two: initdb --wal-segsize.
  const bool possible = size >= 1 << 20 && size <= 1 << 30 && (size & (size - 1)) == 0;
  if (known && !possible)
    throw Error(Code::Damaged, fmt::format("{} names no segment size", (directory_ / "cluster.json").string()));
  return possible ? static_cast<std::uint64_t>(size) : 0;
}

FileLock WalArchive::lock() const {
  makeDirectories(directory_, 0750);
  const auto path = directory_ / ".lock";
  if (auto lock = FileLock::tryAcquire(path)) return std::move(*lock);
  throw Error(Code::Busy,
              fmt::format("another receiver writes to {} ({})", directory_.string(), FileLock::holder(path)));
}

fs::path WalArchive::partialPath(const WalSegment& segment) const {
  const auto name = segmentName(segment, segmentSize());
  makeDirectories(folder(name), 0750);
  return folder(name) / (name + std::string(kPartial));
}

void WalArchive::seal(const std::string& name, const fs::path& file, const ArtifactOptions& how) const {
  makeDirectories(folder(name), 0750);
  const auto final_path = folder(name) / sealedName(name);
  std::error_code ignored;
  if (fs::exists(final_path, ignored)) {
    crypto::Sha256 hash;
    readThrough(file, [&](std::string_view bytes) { hash.update(bytes); });
    if (hash.finishHex() == readRecord(name).plain_sha256) return;
    throw Error(Code::Conflict, fmt::format("{} is in the archive with other content", name),
                "two servers archive into one directory; give each its own");
  }
  const auto temporary = ".tmp-" + sealedName(name);
  fs::remove(folder(name) / temporary, ignored);  // of a run that died
  ArtifactWriter writer(folder(name), temporary, "wal", how);
  readThrough(file, [&](std::string_view bytes) { writer.write(bytes); });
  auto record = writer.finish();
  record.path = sealedName(name);
  const auto text = toJson(json::object{{"path", record.path},
                                        {"content", record.content},
                                        {"plain_size", record.plain_size},
                                        {"stored_size", record.stored_size},
                                        {"plain_sha256", record.plain_sha256},
                                        {"stored_sha256", record.stored_sha256}});
  // The record first: a sealed file without one would be damage, a record without a file is nothing.
  writeFileAtomically(folder(name) / (name + std::string(kRecord)),
                      text + "\n" + toHex(keyring_.signManifest(text)) + "\n", 0640);
  renameDurably(folder(name) / temporary, final_path);
}

FileRecord WalArchive::readRecord(const std::string& name) const {
  const auto path = folder(name) / (name + std::string(kRecord));
  const auto damaged = [&](const char* what) {
    return Error(Code::Damaged, fmt::format("{}: {}", path.string(), what),
                 "recover to a moment before it, or from another copy");
  };
  const auto text = readFileIfExists(path, kRecordLimit);
  if (!text) throw damaged("is missing");
  const auto lines = split(*text, '\n');
  const auto signature = lines.size() >= 2 ? fromHex(lines[1]) : std::nullopt;
  if (!signature || !keyring_.verifyManifest(lines[0], *signature)) throw damaged("its signature does not hold");
  const auto value = tryParseJson(lines[0]);
  const auto* object = value ? value->if_object() : nullptr;
  if (object == nullptr) throw damaged("cannot be read");
  FileRecord record{jsonTextOr(*object, "path", ""),
                    jsonTextOr(*object, "content", ""),
                    static_cast<std::uint64_t>(jsonIntegerOr(*object, "plain_size", 0)),
                    static_cast<std::uint64_t>(jsonIntegerOr(*object, "stored_size", 0)),
                    jsonTextOr(*object, "plain_sha256", ""),
                    jsonTextOr(*object, "stored_sha256", "")};
  if (record.path != sealedName(name)) throw damaged("is of another file");
  return record;
}

bool WalArchive::fetch(const std::string& name, const fs::path& destination) const {
  const auto size = segmentSize();
  const auto segment = size > 0 ? parseSegmentName(name, size) : std::nullopt;
  if (!segment && !isHistoryName(name)) return false;  // .backup files: recovery does without
  std::error_code ignored;
  if (fs::exists(folder(name) / sealedName(name), ignored)) {
    Destination file(destination);
    readArtifact(folder(name), readRecord(name), keyring_.backupIdentity(),
                 [&](std::string_view bytes) { file.write(bytes); });
    file.finish();
    return true;
  }
  const auto partial = folder(name) / (name + std::string(kPartial));
  if (segment && fs::exists(partial, ignored)) {
    Destination file(destination);
    readThrough(partial, [&](std::string_view bytes) { file.write(bytes); });
    file.fillUpTo(size);
    file.finish();
    return true;
  }
  if (segment) {
    // Ending recovery here would silently lose what comes after.
    for (const auto& piece : pieces(segment->timeline)) {
      if (piece.segment.number > segment->number)
        throw Error(Code::NoInput,
                    fmt::format("{} is missing and the log goes on at {}", name, segmentName(piece.segment, size)),
                    "recover to a moment before it, or from a base backup after it");
    }
  }
  return false;
}

std::vector<WalArchive::Piece> WalArchive::pieces(std::uint32_t timeline) const {
  const auto size = segmentSize();
  std::map<WalSegment, Piece> found;
  std::error_code ignored;
  if (size == 0) return {};
  for (const auto& item : fs::directory_iterator(directory_ / fmt::format("{:08X}", timeline), ignored)) {
    const auto file = item.path().filename().string();
    const auto segment = parseSegmentName(std::string_view(file).substr(0, 24), size);
    if (!segment || segment->timeline != timeline) continue;
    auto& piece = found[*segment];
    piece.segment = *segment;
    if (file.substr(24) == kSealed) {
      piece.sealed = true;
      piece.size = size;
    } else if (file.substr(24) == kPartial && !piece.sealed) {
      piece.size = std::min(size, sizeOf(item.path()));
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
  std::error_code ignored;
  for (const auto& item : fs::directory_iterator(directory_, ignored)) {
    const auto name = item.path().filename().string();
    if (isHistoryName(name + ".history")) result.push_back(static_cast<std::uint32_t>(std::stoul(name, nullptr, 16)));
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

std::size_t WalArchive::removeBefore(const WalSegment& segment) const {
  std::size_t removed = 0;
  for (const auto timeline : timelines()) {
    if (timeline > segment.timeline) continue;
    for (const auto& piece : pieces(timeline)) {
      if (!piece.sealed || piece.segment.number >= segment.number) continue;
      const auto name = segmentName(piece.segment, segmentSize());
      fs::remove(folder(name) / sealedName(name));
      fs::remove(folder(name) / (name + std::string(kRecord)));
      ++removed;
    }
  }
  return removed;
}

void WalArchive::writeStatus(const WalStatus& status) const {
  const json::object object{{"timeline", status.timeline},
                            {"flushed", formatLsn(status.flushed)},
                            {"durable_through", status.durable_through > 0 ? toIso(status.durable_through) : ""},
                            {"updated_at", toIso(status.updated_at)},
                            {"slot", status.slot},
                            {"slot_state", status.slot_state},
                            {"retained_bytes", status.retained_bytes},
                            {"problem", status.problem}};
  writeFileAtomically(directory_ / "status.json", toPrettyJson(object) + "\n", 0640);
}

std::optional<WalStatus> WalArchive::readStatus() const {
  const auto text = readFileIfExists(directory_ / "status.json", kRecordLimit);
  const auto value = text ? tryParseJson(*text) : std::nullopt;
  const auto* object = value ? value->if_object() : nullptr;
  if (object == nullptr) return std::nullopt;
  WalStatus status;
  status.timeline = static_cast<std::uint32_t>(jsonIntegerOr(*object, "timeline", 0));
  status.flushed = parseLsn(jsonTextOr(*object, "flushed", "")).value_or(0);
  status.durable_through = fromIso(jsonTextOr(*object, "durable_through", "")).value_or(0);
  status.updated_at = fromIso(jsonTextOr(*object, "updated_at", "")).value_or(0);
  status.slot = jsonTextOr(*object, "slot", "");
  status.slot_state = jsonTextOr(*object, "slot_state", "");
  status.retained_bytes = jsonIntegerOr(*object, "retained_bytes", 0);
  status.problem = jsonTextOr(*object, "problem", "");
  return status;
}

}  // namespace aragora::backup
