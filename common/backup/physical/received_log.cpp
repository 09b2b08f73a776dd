#include "common/backup/physical/received_log.h"

#include "common/base/error.h"
#include "common/base/log.h"

namespace aragora::backup {

void cannotGoOn(const std::string& why, const std::string& remedy) { throw Error(Code::Unreachable, why, remedy); }

void ReceivedLog::begin(const Position& at) {
  file_.close();
  size_ = archive_.segmentSize();
  position_ = at;
  flushed_ = began_ = at.lsn;
  flushed_sha256_.clear();
  sealing_ = false;
  const auto before = promised(at.timeline);
  if (!before) archive_.begin(at.timeline);
  promised_ = before.value_or(ConfirmedLog{at.timeline, 0, 0, 0, {}});
  durable_through_ = std::max(durable_through_, promised_.durable_through);  // it stays true
}

// Damage of what was promised must not keep new log from being stored.
std::optional<ConfirmedLog> ReceivedLog::promised(std::uint32_t timeline) const {
  try {
    return archive_.confirmed(timeline);
  } catch (const Error& error) {
    if (error.code() != Code::Damaged) throw;
    const auto path = (archive_.directory() / fmt::format("{:08X}", timeline)).path() / kConfirmedName;
    const auto aside = fs::path(fmt::format("{}.damaged-{}", path.string(), toCompactIso(nowMicros())));
    log::error("{}; it is kept as {}, and confirmed anew", error.what(), aside.filename().string());
    renameDurably(path, aside);
    return std::nullopt;
  }
}

void ReceivedLog::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const WalSegment segment{position_.timeline, position_.lsn / size_};
    if (!file_.isOpen()) open(segment);
    const auto offset = position_.lsn % size_;
    const auto part = bytes.substr(0, size_ - offset);
    requireSame(part, offset);
    file_.write(part, offset);
    if (pending() == 0) pending_since_ = std::chrono::steady_clock::now();
    position_.lsn += part.size();
    bytes.remove_prefix(part.size());
    if (position_.lsn % size_ == 0) seal(segment);
  }
}

void ReceivedLog::open(const WalSegment& segment) {
  const auto begin = segment.number * size_;
  const auto confirmed = promised_.flushed > begin ? std::min(size_, promised_.flushed - begin) : 0;
  file_.open(archive_.partialPath(segment), confirmed);
}

// After a restart the beginning of the open segment comes once more. It must be what was confirmed.
void ReceivedLog::requireSame(std::string_view bytes, std::uint64_t offset) const {
  if (file_.agrees(bytes, offset)) return;
  cannotGoOn(fmt::format("the server's log at {} on timeline {} differs from what was received: it was set back "
                         "without a new timeline, or {} was damaged",
                         formatLsn(position_.lsn), position_.timeline, file_.path().string()),
             "aragora backup verify --input latest-base tells; then promote the server to a new timeline, or move "
             "the damaged file away");
}

// A complete segment: sealed, and only then is the open one gone.
void ReceivedLog::seal(const WalSegment& segment) {
  sync();
  file_.close();
  sealing_ = true;
  archive_.seal(segmentName(segment, size_), file_.path(), how_);
  sealing_ = false;
  fs::remove(file_.path());
}

void ReceivedLog::sync() {
  file_.sync();
  flushed_ = position_.lsn;
  flushed_sha256_ = flushed_ % size_ == 0 ? std::string() : file_.digest();
  if (promised_.flushed == 0) promise();  // a timeline's first one: until then nothing says that it has begun
}

// After a restart it begins before what was promised: the promise stands.
void ReceivedLog::promise() {
  if (sealing_) return;  // that was given up: it comes once more
  if (promised_.flushed == 0 && flushed_ == began_) return;
  if (flushed_ < promised_.flushed || flushed_sha256_.empty() != (flushed_ % size_ == 0)) return;
  if (flushed_ == promised_.flushed && durable_through_ == promised_.durable_through) return;
  promised_ = {position_.timeline, flushed_, durable_through_, nowMicros(), flushed_sha256_};
  archive_.confirm(promised_);
}

}  // namespace aragora::backup
