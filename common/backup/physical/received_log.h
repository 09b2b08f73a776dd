// What the receiver has on disk of the timeline that it follows: the open segment byte by byte, complete ones sealed,
// and the signed promise of how far that reaches. Owned by the receiver, used from its thread. Throws Error(Io) when
// the archive cannot be written.
#pragma once

#include <chrono>

#include "common/backup/physical/open_segment.h"
#include "common/backup/physical/wal_archive.h"
#include "common/database/postgres/replication_connection.h"

namespace aragora::backup {

using Position = database::postgres::ReplicationConnection::Position;

// What trying again mends only once somebody has acted: said in the status until then.
[[noreturn]] void cannotGoOn(const std::string& why, const std::string& remedy);

class ReceivedLog {
 public:
  ReceivedLog(const WalArchive& archive, const ArtifactOptions& how) : archive_(archive), how_(how) {}

  // A connection, or a timeline in it, begins here; what was promised of the timeline before stands.
  void begin(const Position& at);
  // Knows no more than where it stands.
  void standAt(const Position& at) { position_ = at; }
  // They follow on position(). Throws Error(Unreachable) when they are not what was confirmed there before. Minds
  // interrupts while it seals a segment; the next connection begins with that one.
  void write(std::string_view bytes);
  void sync();
  // Signs that everything up to flushed() is safe.
  void promise();
  // The connection is over; where to go on is decided anew.
  void close() { file_.close(); }

  const Position& position() const { return position_; }  // what is written ends here
  Lsn flushed() const { return flushed_; }                // what is on disk ends here
  std::uint64_t pending() const { return position_.lsn - flushed_; }
  std::chrono::steady_clock::time_point pendingSince() const { return pending_since_; }
  // Every commit up to this time of the server's clock is here; 0 while that is not known.
  Micros durableThrough() const { return durable_through_; }
  void setDurableThrough(Micros time) { durable_through_ = time; }
  // Of any timeline. One that is damaged goes aside, and is made anew.
  std::optional<ConfirmedLog> promised(std::uint32_t timeline) const;

 private:
  void open(const WalSegment& segment);
  void requireSame(std::string_view bytes, std::uint64_t offset) const;
  void seal(const WalSegment& segment);

  const WalArchive& archive_;
  const ArtifactOptions& how_;
  std::uint64_t size_ = 0;
  Position position_;
  Lsn flushed_ = 0;
  Lsn began_ = 0;  // this timeline, in this connection
  OpenSegment file_;
  bool sealing_ = false;        // or it was given up
  std::string flushed_sha256_;  // as far as it is on disk
  ConfirmedLog promised_;       // of this timeline
  Micros durable_through_ = 0;
  std::chrono::steady_clock::time_point pending_since_ = std::chrono::steady_clock::now();
};

}  // namespace aragora::backup
