#include "common/backup/physical/wal_receiver.h"

#include <thread>

#include "common/backup/physical/minimal_log.h"
#include "common/backup/physical/open_segment.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/scratch.h"
#include "common/base/subprocess.h"
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
    receiveUntilStopped();
    if (received_any_) tell();  // what the server was told last is promised here, too
  }

 private:
  void receiveUntilStopped() {
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
        status_.problem = error.hint().empty() ? error.what() : fmt::format("{}; {}", error.what(), error.hint());
        const auto problem = status_.problem;
        tell();
        if (options_.events.retry) options_.events.retry(problem);
        waitOrStop(pause);
        pause = std::min<std::chrono::milliseconds>(pause * 2, kLongestPause);
      }
    }
  }

  void streamUntilBroken() {
    file_.close();  // of the connection before; where to go on is decided anew
    Replication server(options_.target);
    const auto identity = server.row("IDENTIFY_SYSTEM");  // system id, timeline, position
    const auto setting = server.row("SHOW wal_segment_size");
    archive_.claim(identity.at(0), segmentBytes(setting.at(0)));
    size_ = archive_.segmentSize();
    checkSlot();
    const Position end{static_cast<std::uint32_t>(parseInteger(identity.at(1)).value_or(0)),
                       parseLsn(identity.at(2)).value_or(0)};
    position_ = whereToGoOn(server, end);
    if (position_.timeline == end.timeline && position_.lsn < end.lsn && findProgram("pg_waldump"))
      minimal_.expect({end.timeline, position_.lsn, end.lsn});
    while (!stop_) {
      keepHistory(server);
      flushed_ = began_ = position_.lsn;
      flushed_sha256_.clear();
      auto promised = promiseOf(position_.timeline);
      if (!promised) archive_.begin(position_.timeline);
      promised_ = promised.value_or(ConfirmedLog{position_.timeline, 0, 0, 0, {}});
      status_.durable_through = std::max(status_.durable_through, promised_.durable_through);  // it stays true
      if (server.start(options_.slot, position_)) streamTimeline(server);
      if (stop_) return;
      const auto next = server.nextTimeline();
      log::info("timeline {} ended at {}, going on with {}", position_.timeline, formatLsn(next.lsn), next.timeline);
      file_.close();
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

  // What trying again mends only once somebody has acted: said in the status until then.
  [[noreturn]] static void cannotGoOn(const std::string& why, const std::string& remedy) {
    throw Error(Code::Unreachable, why, remedy);
  }

  static WalListing::Branch historyOf(Replication& server, std::uint32_t timeline) {
    return parseHistory(timeline,
                        timeline < 2 ? std::string() : server.row(fmt::format("TIMELINE_HISTORY {}", timeline)).at(1));
  }

  // The newest place in the server's own history that we have: the start of the open segment. What we have beyond the
  // point where the server's history left a timeline is of another life of the database: it stays, and we go on along
  // the server's. What the slot keeps, when there is nothing yet.
  Position whereToGoOn(Replication& server, const Position& end) {
    const auto history = historyOf(server, end.timeline);
    for (auto step = history.rbegin(); step != history.rend(); ++step) {
      const auto pieces = archive_.pieces(step->timeline);
      if (pieces.empty()) continue;
      const auto& last = pieces.back();
      const Lsn lsn = (last.segment.number + (last.sealed ? 1 : 0)) * size_;
      if (lsn < skip_below_) continue;
      if (step->timeline == end.timeline) requireAhead(end, lsn);
      if (lsn <= step->until) return {step->timeline, lsn};
      const auto next = std::prev(step)->timeline;
      log::warning(
          "the server's history left timeline {} at {}; the log that was received behind it is kept as a "
          "branch of its own, and timeline {} is received",
          step->timeline, formatLsn(step->until), next);
      return {next, step->until / size_ * size_};
    }
    const Lsn kept = std::max(slot_restart_ > 0 ? slot_restart_ : end.lsn, skip_below_);
    return {end.timeline, kept / size_ * size_};
  }

  // Damage of what was promised must not keep new log from being stored: it goes aside, and is confirmed anew.
  std::optional<ConfirmedLog> promiseOf(std::uint32_t timeline) const {
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

  void requireAhead(const Position& end, Lsn from) const {
    const auto promised = promiseOf(end.timeline);
    const auto known = std::max(from, promised ? promised->flushed : 0);
    if (end.lsn >= known) return;
    cannotGoOn(
        fmt::format("the server is at {} on timeline {}, and its log was received through {} already: it was set "
                    "back without a new timeline",
                    formatLsn(end.lsn), end.timeline, formatLsn(known)),
        "promote it to a new timeline (pg_ctl stop; touch recovery.signal and set restore_command = 'false'; "
        "start), or give it a backup directory of its own");
  }

  void keepHistory(Replication& server) {
    if (position_.timeline < 2) return;
    const auto name = historyName(position_.timeline);
    const TemporaryDirectory scratch;
    const auto file = scratch.path() / "history";
    const auto history = server.row(fmt::format("TIMELINE_HISTORY {}", position_.timeline)).at(1);
    createFileExclusively(file, history, 0600);
    try {
      archive_.seal(name, file, options_.artifact);
    } catch (const Error& error) {
      if (error.code() != Code::Conflict) throw;
      cannotGoOn(fmt::format("timeline {} of this server is not the timeline {} whose log is here: two copies were "
                             "promoted to the same number",
                             position_.timeline, position_.timeline),
                 "promote the server once more, which gives it a number of its own, or give it a backup directory of "
                 "its own");
    }
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
      minimal_.lookOnce(flushed_);
      noteMinimalLog();
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
      if (!file_.isOpen()) open(segment);
      const auto offset = position_.lsn % size_;
      const auto part = bytes.substr(0, size_ - offset);
      requireSame(part, offset);
      file_.write(part, offset);
      if (pending() == 0) unsynced_since_ = Clock::now();
      position_.lsn += part.size();
      bytes.remove_prefix(part.size());
      if (position_.lsn % size_ == 0) close(segment);
    }
  }

  void open(const WalSegment& segment) {
    const auto begin = segment.number * size_;
    const auto confirmed = promised_.flushed > begin ? std::min(size_, promised_.flushed - begin) : 0;
    file_.open(archive_.partialPath(segment), confirmed);
  }

  // After a restart the beginning of the open segment comes once more. It must be what was confirmed.
  void requireSame(std::string_view bytes, std::uint64_t offset) const {
    if (file_.agrees(bytes, offset)) return;
    cannotGoOn(fmt::format("the server's log at {} on timeline {} differs from what was received: it was set back "
                           "without a new timeline, or {} was damaged",
                           formatLsn(position_.lsn), position_.timeline, file_.path().string()),
               "aragora backup verify --input latest-base tells; then promote the server to a new timeline, or move "
               "the damaged file away");
  }

  // A complete segment: sealed, and only then is the open one gone.
  void close(const WalSegment& segment) {
    sync();
    file_.close();
    archive_.seal(segmentName(segment, size_), file_.path(), options_.artifact);
    fs::remove(file_.path());
  }

  void noteMinimalLog() {
    const auto found = minimal_.found();
    if (!found) return;
    const auto message = fmt::format("wal_level was minimal from {} on: what was written then cannot be recovered",
                                     formatLsn(found->after));
    log::error("{}", message);
    archive_.record(*found);
    if (options_.events.gap) options_.events.gap(message);
  }

  std::uint64_t pending() const { return position_.lsn - flushed_; }

  void sync() {
    file_.sync();
    flushed_ = position_.lsn;
    flushed_sha256_ = flushed_ % size_ == 0 ? std::string() : file_.digest();
    if (promised_.flushed == 0) promise();  // a timeline's first one: until then nothing says that it has begun
  }

  // After a restart it begins before what was promised: the promise stands.
  void promise() {
    if (promised_.flushed == 0 && flushed_ == began_) return;
    if (flushed_ < promised_.flushed || flushed_sha256_.empty() != (flushed_ % size_ == 0)) return;
    if (flushed_ == promised_.flushed && status_.durable_through == promised_.durable_through) return;
    promised_ = {position_.timeline, flushed_, status_.durable_through, nowMicros(), flushed_sha256_};
    archive_.confirm(promised_);
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
    if (!rows.empty() && parseSlotState(rows[0].text(1)) == SlotState::Lost) {
      connection->query("SELECT pg_drop_replication_slot($1)", {options_.slot});
      throw LogIsGone(fmt::format("the server dropped the log of slot {} (max_slot_wal_keep_size)", options_.slot));
    }
    if (rows.empty()) {
      connection->query("SELECT pg_create_physical_replication_slot($1, true)", {options_.slot});
      log::info("created replication slot {}", options_.slot);
      return checkSlot();
    }
    slot_restart_ = parseLsn(rows[0].text(0)).value_or(0);
    status_.slot_state = parseSlotState(rows[0].text(1));
    status_.retained_bytes = rows[0].integer(2);
  }

  void acceptGap(const std::string& why) {
    if (position_.timeline == 0) position_ = endOfWhatIsHere();
    const auto message = fmt::format("the log is interrupted after {}: {}", formatLsn(position_.lsn), why);
    log::error("{}", message);
    archive_.record({position_.timeline, position_.lsn, true, why});
    file_.close();
    checkSlot();
    skip_below_ = slot_restart_ / size_ * size_;
    if (options_.events.gap) options_.events.gap(message);
  }

  Position endOfWhatIsHere() const {
    const auto newest = archive_.newestPiece();
    if (!newest) return {};
    return {newest->segment.timeline, newest->segment.number * archive_.segmentSize() + newest->size};
  }

  void tell() {
    last_told_ = Clock::now();
    status_.timeline = position_.timeline;
    status_.flushed = flushed_;
    status_.updated_at = nowMicros();
    if (received_any_) promise();
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
  Lsn began_ = 0;       // this timeline, in this connection
  Lsn skip_below_ = 0;  // after a gap
  Lsn slot_restart_ = 0;
  Lsn server_end_ = 0;
  Micros server_time_ = 0;
  OpenSegment file_;
  std::string flushed_sha256_;  // as far as it is on disk
  ConfirmedLog promised_;       // of this timeline
  MinimalLog minimal_{archive_, stop_};
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
