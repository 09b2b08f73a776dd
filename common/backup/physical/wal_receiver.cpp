#include "common/backup/physical/wal_receiver.h"

#include "common/backup/physical/minimal_log.h"
#include "common/backup/physical/received_log.h"
#include "common/base/error.h"
#include "common/base/interrupt.h"
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
using database::postgres::kPostgresEpoch;

constexpr auto kReplyEvery =
    std::chrono::seconds(3);  // and ask for a word: how old what we know is while nothing happens
constexpr auto kStatusEvery = std::chrono::seconds(1);
constexpr auto kSlotEvery = std::chrono::seconds(10);
constexpr auto kSyncEvery = std::chrono::milliseconds(200);
constexpr std::uint64_t kSyncBytes = 1U << 20;
constexpr auto kLook = std::chrono::milliseconds(100);  // whether to stop
constexpr auto kLastWord = std::chrono::seconds(1);
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
  Receiver(WalArchive& archive, const ReceiverOptions& options, interrupt::Switch stop)
      : archive_(archive), options_(options), stop_(std::move(stop)) {
    status_.slot = options.slot;
  }

  void run() {
    const auto lock = archive_.lock();
    try {
      const interrupt::Minding minding(stop_);
      receiveUntilStopped();
    } catch (const Error& error) {
      if (error.code() != Code::Interrupted || !stop_.turned()) throw;
    }
    if (received_any_) tell();  // what the server was told last is promised here, too
  }

 private:
  void receiveUntilStopped() {
    auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(kFirstPause);
    while (!stop_.turned()) {
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
        stop_.waitFor(pause);
        pause = std::min<std::chrono::milliseconds>(pause * 2, kLongestPause);
      }
    }
  }

  void streamUntilBroken() {
    log_.close();  // of the connection before
    Replication server(options_.target);
    const auto identity = server.row("IDENTIFY_SYSTEM");  // system id, timeline, position
    const auto setting = server.row("SHOW wal_segment_size");
    archive_.claim(identity.at(0), segmentBytes(setting.at(0)));
    size_ = archive_.segmentSize();
    checkSlot();
    const Position end{static_cast<std::uint32_t>(parseInteger(identity.at(1)).value_or(0)),
                       parseLsn(identity.at(2)).value_or(0)};
    auto from = whereToGoOn(server, end);
    if (from.timeline == end.timeline && from.lsn < end.lsn && findProgram("pg_waldump"))
      minimal_.expect({end.timeline, from.lsn, end.lsn});
    while (!stop_.turned()) {
      keepHistory(server, from.timeline);
      log_.begin(from);
      if (server.start(options_.slot, from)) streamTimeline(server);
      if (stop_.turned()) return;
      const auto next = server.nextTimeline();
      log::info("timeline {} ended at {}, going on with {}", from.timeline, formatLsn(next.lsn), next.timeline);
      // The new timeline's first segment holds everything from its beginning.
      from = {next.timeline, next.lsn / size_ * size_};
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

  void requireAhead(const Position& end, Lsn from) const {
    const auto promised = log_.promised(end.timeline);
    const auto known = std::max(from, promised ? promised->flushed : 0);
    if (end.lsn >= known) return;
    cannotGoOn(
        fmt::format("the server is at {} on timeline {}, and its log was received through {} already: it was set "
                    "back without a new timeline",
                    formatLsn(end.lsn), end.timeline, formatLsn(known)),
        "promote it to a new timeline (pg_ctl stop; touch recovery.signal and set restore_command = 'false'; "
        "start), or give it a backup directory of its own");
  }

  void keepHistory(Replication& server, std::uint32_t timeline) {
    if (timeline < 2) return;
    const auto name = historyName(timeline);
    const TemporaryDirectory scratch;
    const auto file = scratch.path() / "history";
    const auto history = server.row(fmt::format("TIMELINE_HISTORY {}", timeline)).at(1);
    createFileExclusively(file, history, 0640);
    try {
      archive_.seal(name, file, options_.artifact);
    } catch (const Error& error) {
      if (error.code() != Code::Conflict) throw;
      cannotGoOn(fmt::format("timeline {} of this server is not the timeline {} whose log is here: two copies were "
                             "promoted to the same number",
                             timeline, timeline),
                 "promote the server once more, which gives it a number of its own, or give it a backup directory of "
                 "its own");
    }
  }

  void streamTimeline(Replication& server) {
    last_heard_ = Clock::now();
    last_reply_ = last_heard_ - kReplyEvery;
    try {
      while (receiveNext(server)) {
        if (stop_.turned()) return lastWord(server);
        if (Clock::now() - last_heard_ > kSilence) throw Error(Code::Unreachable, "the server is silent");
        if (Clock::now() - last_slot_check_ >= kSlotEvery) checkSlot();
      }
    } catch (const Error& error) {
      if (error.code() != Code::Interrupted || !stop_.turned()) throw;
      lastWord(server);
    }
  }

  // What was confirmed is of use only once the server has read it: until then its slot keeps log that is here already.
  static void lastWord(Replication& server) {
    const interrupt::Shield shield;
    try {
      server.finish(kLastWord);
    } catch (const Error& error) {
      log::debug("the server may not know all that was received: {}", error.what());
    }
  }

  // False at the end of the timeline.
  bool receiveNext(Replication& server) {
    const auto got = server.receive(message_, log_.pending() > 0 ? std::chrono::milliseconds(0) : kLook);
    const auto now = Clock::now();
    const bool ask = now - last_reply_ >= kReplyEvery;
    bool reply = ask;
    if (got == Replication::Got::Message) {
      last_heard_ = now;
      received_any_ = true;
      reply |= take(message_);
    }
    const interrupt::Shield shield;  // what has come is put on disk and confirmed, also when we are to stop
    // On disk as soon as the server pauses, and in any case after a little while.
    const bool due =
        got != Replication::Got::Message || log_.pending() >= kSyncBytes || now - log_.pendingSince() >= kSyncEvery;
    if (log_.pending() > 0 && (due || stop_.turned())) {
      log_.sync();
      reply = true;
    }
    noteFreshness();
    minimal_.lookOnce(log_.flushed());
    noteMinimalLog();
    if (reply) {
      server.confirm(log_.flushed(), ask ? Replication::Answer::Wanted : Replication::Answer::NotNeeded);
      last_reply_ = now;
    }
    if (now - last_told_ >= kStatusEvery) tell();
    return got != Replication::Got::EndOfTimeline;
  }

  // True when the server wants an answer at once.
  bool take(std::string_view message) {
    if (message[0] == 'w' && message.size() >= 25) {
      const auto here = log_.position().lsn;
      if (bigEndian(message, 1) != here)
        throw Error(Code::Unreachable,
                    fmt::format("the server sent {} after {}", formatLsn(bigEndian(message, 1)), formatLsn(here)));
      server_end_ = bigEndian(message, 9);
      server_time_ = static_cast<Micros>(bigEndian(message, 17)) + kPostgresEpoch;
      log_.write(message.substr(25));
      return false;
    }
    if (message[0] == 'k' && message.size() >= 18) {
      server_end_ = bigEndian(message, 1);
      server_time_ = static_cast<Micros>(bigEndian(message, 9)) + kPostgresEpoch;
      return message[17] != 0;
    }
    throw Error(Code::Unreachable, "the server sent a message that is not of this protocol");
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

  void noteFreshness() {
    if (server_time_ > 0 && log_.flushed() >= server_end_) log_.setDurableThrough(server_time_);
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
    if (log_.position().timeline == 0) log_.standAt(endOfWhatIsHere());
    const auto [timeline, lsn] = log_.position();
    const auto message = fmt::format("the log is interrupted after {}: {}", formatLsn(lsn), why);
    log::error("{}", message);
    archive_.record({timeline, lsn, true, why});
    log_.close();
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
    status_.timeline = log_.position().timeline;
    status_.flushed = log_.flushed();
    status_.durable_through = log_.durableThrough();
    status_.updated_at = nowMicros();
    if (received_any_) log_.promise();
    archive_.writeStatus(status_);
    if (options_.events.status) options_.events.status(status_);
    status_.problem.clear();
  }

  WalArchive& archive_;
  const ReceiverOptions& options_;
  const interrupt::Switch stop_;
  std::uint64_t size_ = 0;
  ReceivedLog log_{archive_, options_.artifact};
  Lsn skip_below_ = 0;  // after a gap
  Lsn slot_restart_ = 0;
  Lsn server_end_ = 0;
  Micros server_time_ = 0;
  MinimalLog minimal_{archive_, stop_};
  WalStatus status_;
  std::string message_;
  bool received_any_ = false;
  Clock::time_point last_heard_{};
  Clock::time_point last_reply_{};
  Clock::time_point last_told_{};
  Clock::time_point last_slot_check_{};
};
}  // namespace

void receiveWal(WalArchive& archive, const ReceiverOptions& options, const interrupt::Switch& stop) {
  Receiver(archive, options, stop).run();
}

}  // namespace aragora::backup
