#include "common/backup/physical/wal_receiver.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/scratch.h"
#include "common/base/text.h"
#include "common/database/postgres/replication_connection.h"

namespace aragora::backup {

namespace {
using Clock = std::chrono::steady_clock;
using database::postgres::LogIsGone;
using Replication = database::postgres::ReplicationConnection;
using Position = Replication::Position;
using database::postgres::kPostgresEpoch;

constexpr auto kReplyEvery =
    std::chrono::seconds(3);  // and ask for a word: how old what we know is while nothing happens
constexpr auto kStatusEvery = std::chrono::seconds(1);
constexpr auto kSlotEvery = std::chrono::seconds(10);
constexpr auto kSyncEvery = std::chrono::milliseconds(200);
constexpr std::uint64_t kSyncBytes = 1U << 20;
constexpr auto kSilence = std::chrono::seconds(20);
constexpr auto kFirstPause = std::chrono::milliseconds(200);
constexpr auto kLongestPause = std::chrono::seconds(30);

std::uint64_t bigEndian(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

class Receiver {
 public:
  Receiver(WalArchive& archive, const ReceiverOptions& options, const std::atomic<bool>& stop)
      : archive_(archive), options_(options), stop_(stop) {
    status_.slot = options.slot;
  }

  void run() {
    const auto lock = archive_.lock();
    if (const auto before = archive_.readStatus()) status_.durable_through = before->durable_through;  // it stays true
    auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(kFirstPause);
    while (!stop_) {
      try {
        streamUntilBroken();
        pause = kFirstPause;
      } catch (const LogIsGone& error) {
        acceptGap(error.what());
      } catch (const Error& error) {
        if (error.code() != Code::Unreachable) throw;
        if (received_any_) pause = kFirstPause;
        received_any_ = false;
        status_.problem = error.what();
        tell();
        if (options_.events.retry) options_.events.retry(error.what());
        waitOrStop(pause);
        pause = std::min<std::chrono::milliseconds>(pause * 2, kLongestPause);
      }
    }
  }

 private:
  void streamUntilBroken() {
    file_.reset();  // of the connection before; where to go on is decided anew
    Replication server(options_.target);
    const auto identity = server.row("IDENTIFY_SYSTEM");  // system id, timeline, position
    const auto setting = server.row("SHOW wal_segment_size");
    archive_.claim(identity.at(0), segmentBytes(setting.at(0)));
    size_ = archive_.segmentSize();
    checkSlot();
    position_ = whereToGoOn(
        {static_cast<std::uint32_t>(parseInteger(identity.at(1)).value_or(0)), parseLsn(identity.at(2)).value_or(0)});
    while (!stop_) {
      fetchHistory(server);
      flushed_ = position_.lsn;
      if (server.start(options_.slot, position_)) streamTimeline(server);
      if (stop_) return;
      const auto next = server.nextTimeline();
      log::info("timeline {} ended at {}, going on with {}", position_.timeline, formatLsn(next.lsn), next.timeline);
      file_.reset();
      // The new timeline's first segment holds everything from its beginning.
      position_ = {next.timeline, next.lsn / size_ * size_};
    }
  }

  static std::uint64_t segmentBytes(const std::string& setting) {  // 16MB, 1GB
    const auto digits = setting.find_first_not_of("0123456789");
    const auto number = parseInteger(std::string_view(setting).substr(0, digits));
    const auto unit = digits == std::string::npos ? std::string() : setting.substr(digits);
    if (!number || (unit != "MB" && unit != "GB"))
      throw Error(Code::CouldNotVerify, "the server names no segment size");
    return static_cast<std::uint64_t>(*number) << (unit == "MB" ? 20 : 30);
  }

  // The start of the open segment, or what the slot keeps when there is nothing yet.
  Position whereToGoOn(const Position& server) {
    const auto known = archive_.timelines();
    for (auto timeline = known.rbegin(); timeline != known.rend(); ++timeline) {
      const auto pieces = archive_.pieces(*timeline);
      if (pieces.empty() || *timeline > server.timeline) continue;
      const auto& last = pieces.back();
      const Lsn lsn = (last.segment.number + (last.sealed ? 1 : 0)) * size_;
      if (lsn >= skip_below_) return {*timeline, lsn};
    }
    const Lsn kept = std::max(slot_restart_ > 0 ? slot_restart_ : server.lsn, skip_below_);
    return {server.timeline, kept / size_ * size_};
  }

  void fetchHistory(Replication& server) {
    if (position_.timeline < 2) return;
    const TemporaryDirectory scratch;
    const auto file = scratch.path() / "history";
    if (archive_.fetch(historyName(position_.timeline), file)) return;
    const auto history = server.row(fmt::format("TIMELINE_HISTORY {}", position_.timeline));
    createFileExclusively(file, history.at(1), 0600);
    archive_.seal(historyName(position_.timeline), file, options_.artifact);
  }

  void streamTimeline(Replication& server) {
    std::string message;
    auto last_heard = Clock::now();
    auto last_reply = Clock::now() - kReplyEvery;
    while (true) {
      const auto got =
          server.receive(message, pending() > 0 ? std::chrono::milliseconds(0) : std::chrono::milliseconds(250));
      const auto now = Clock::now();
      const bool ask = now - last_reply >= kReplyEvery;
      bool reply = ask;
      if (got == Replication::Got::Message) {
        last_heard = now;
        received_any_ = true;
        reply |= take(message);
      }
      // On disk as soon as the server pauses, and in any case after a little while.
      const bool due =
          got != Replication::Got::Message || pending() >= kSyncBytes || now - unsynced_since_ >= kSyncEvery;
      if (pending() > 0 && (due || stop_)) {
        sync();
        reply = true;
      }
      noteFreshness();
      if (reply) {
        server.confirm(flushed_, ask ? Replication::Answer::Wanted : Replication::Answer::NotNeeded);
        last_reply = now;
      }
      if (now - last_told_ >= kStatusEvery) tell();
      if (got == Replication::Got::EndOfTimeline || stop_) return;
      if (now - last_heard > kSilence) throw Error(Code::Unreachable, "the server is silent");
      if (now - last_slot_check_ >= kSlotEvery) checkSlot();
    }
  }

  // True when the server wants an answer at once.
  bool take(std::string_view message) {
    if (message[0] == 'w' && message.size() >= 25) {
      if (bigEndian(message, 1) != position_.lsn)
        throw Error(Code::Unreachable, fmt::format("the server sent {} after {}", formatLsn(bigEndian(message, 1)),
                                                   formatLsn(position_.lsn)));
      server_end_ = bigEndian(message, 9);
      server_time_ = static_cast<Micros>(bigEndian(message, 17)) + kPostgresEpoch;
      write(message.substr(25));
      return false;
    }
    if (message[0] == 'k' && message.size() >= 18) {
      server_end_ = bigEndian(message, 1);
      server_time_ = static_cast<Micros>(bigEndian(message, 9)) + kPostgresEpoch;
      return message[17] != 0;
    }
    throw Error(Code::Unreachable, "the server sent a message that is not of this protocol");
  }

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const WalSegment segment{position_.timeline, position_.lsn / size_};
      if (!file_.valid()) open(segment);
      const auto offset = position_.lsn % size_;
      const auto part = bytes.substr(0, size_ - offset);
      writeAt(part, offset);
      if (pending() == 0) unsynced_since_ = Clock::now();
      position_.lsn += part.size();
      bytes.remove_prefix(part.size());
      if (position_.lsn % size_ == 0) close(segment);
    }
  }

  void open(const WalSegment& segment) {
    path_ = archive_.partialPath(segment);
    file_ = Fd(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    if (!file_.valid()) throwSystemError(Code::CannotCreate, "create", path_.string(), errno);
    syncDirectory(path_.parent_path());
  }

  void writeAt(std::string_view bytes, std::uint64_t offset) {
    while (!bytes.empty()) {
      const ssize_t put = ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) throwSystemError(Code::Io, "write", path_.string(), errno);
      bytes.remove_prefix(static_cast<std::size_t>(put));
      offset += static_cast<std::uint64_t>(put);
    }
  }

  // A complete segment: sealed, and only then is the open one gone.
  void close(const WalSegment& segment) {
    sync();
    file_.reset();
    archive_.seal(segmentName(segment, size_), path_, options_.artifact);
    fs::remove(path_);
  }

  std::uint64_t pending() const { return position_.lsn - flushed_; }

  void sync() {
    if (file_.valid()) syncFile(file_.get(), path_);
    flushed_ = position_.lsn;
  }

  void noteFreshness() {
    if (server_time_ > 0 && flushed_ >= server_end_) status_.durable_through = server_time_;
  }

  // The slot keeps the log for us while we are away.
  void checkSlot() {
    last_slot_check_ = Clock::now();
    const auto connection = database::connect(options_.target);
    auto rows = connection->query(
        "SELECT restart_lsn::text, wal_status, coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN "
        "pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint "
        "FROM "
        "pg_replication_slots WHERE slot_name = $1",
        {options_.slot});
    if (!rows.empty() && rows[0].text(1) == "lost") {
      connection->query("SELECT pg_drop_replication_slot($1)", {options_.slot});
      throw LogIsGone(fmt::format("the server dropped the log of slot {} (max_slot_wal_keep_size)", options_.slot));
    }
    if (rows.empty()) {
      connection->query("SELECT pg_create_physical_replication_slot($1, true)", {options_.slot});
      log::info("created replication slot {}", options_.slot);
      return checkSlot();
    }
    slot_restart_ = parseLsn(rows[0].text(0)).value_or(0);
    status_.slot_state = rows[0].text(1);
    status_.retained_bytes = rows[0].integer(2);
  }

  void acceptGap(const std::string& why) {
    const auto message = fmt::format("the log is interrupted after {}: {}", formatLsn(position_.lsn), why);
    log::error("{}", message);
    archive_.recordGap(position_.timeline, position_.lsn, why);
    file_.reset();
    checkSlot();
    skip_below_ = slot_restart_ / size_ * size_;
    if (options_.events.gap) options_.events.gap(message);
  }

  void tell() {
    last_told_ = Clock::now();
    status_.timeline = position_.timeline;
    status_.flushed = flushed_;
    status_.updated_at = nowMicros();
    archive_.writeStatus(status_);
    if (options_.events.status) options_.events.status(status_);
    status_.problem.clear();
  }

  void waitOrStop(std::chrono::milliseconds pause) const {
    const auto end = deadlineIn(pause);
    while (!stop_ && remaining(end).count() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  WalArchive& archive_;
  const ReceiverOptions& options_;
  const std::atomic<bool>& stop_;
  std::uint64_t size_ = 0;
  Position position_;   // what is written ends here
  Lsn flushed_ = 0;     // what is on disk ends here
  Lsn skip_below_ = 0;  // after a gap
  Lsn slot_restart_ = 0;
  Lsn server_end_ = 0;
  Micros server_time_ = 0;
  Fd file_;
  fs::path path_;
  WalStatus status_;
  bool received_any_ = false;
  Clock::time_point unsynced_since_ = Clock::now();
  Clock::time_point last_told_{};
  Clock::time_point last_slot_check_{};
};
}  // namespace

void receiveWal(WalArchive& archive, const ReceiverOptions& options, const std::atomic<bool>& stop) {
  Receiver(archive, options, stop).run();
}

}  // namespace aragora::backup
