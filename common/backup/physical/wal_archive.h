// The received write-ahead log: DIR/<timeline>/<segment>.zst.age with its signed record <segment>.json, the open
// segment as <segment>.partial, timeline histories beside them, and DIR/status.json (what the receiver last knew).
// Complete segments are compressed and encrypted; the open one is plain and grows byte by byte. In the copy elsewhere
// the open one is a row of sealed pieces instead, <segment>.<from>-<to>.zst.age (bytes, eight hex digits each). One
// receiver at a time; readers at any time.
#pragma once

#include <vector>

#include "common/backup/artifact.h"
#include "common/backup/manifest.h"
#include "common/backup/physical/confirmed_log.h"
#include "common/backup/physical/wal_listing.h"
#include "common/backup/physical/wal_status.h"
#include "common/crypto/keyring.h"

namespace aragora::backup {

using database::postgres::historyName;
using database::postgres::isHistoryName;
using database::postgres::parseSegmentName;
using database::postgres::segmentName;
using database::postgres::WalSegment;

// What the log is known to lack, signed. A record that is gone explains no hole, and a hole that nobody explained is
// damage.
inline constexpr const char* kInterruptionsName = "interruptions.json";

class WalArchive {
 public:
  WalArchive(storage::Place directory, const crypto::Keyring& keyring)
      : directory_(std::move(directory)), keyring_(keyring) {}
  const storage::Place& directory() const { return directory_; }

  // Which cluster's log this is: written down once, compared ever after. Throws Error(Conflict).
  void claim(const std::string& system_identifier, std::uint64_t segment_size);
  std::string systemIdentifier() const;  // empty before the first claim
  // 0 before the first claim.
  std::uint64_t segmentSize() const;

  // Held by the receiver. What one that was killed left unfinished is removed. Error(Busy) naming the holder.
  FileLock lock() const;
  fs::path partialPath(const WalSegment& segment) const;
  // Compresses and encrypts a complete file under its name, durably; a second time with the same content does nothing,
  // with other content it throws Error(Conflict). `name` is a segment's or a history's.
  void seal(const std::string& name, const fs::path& file, const ArtifactOptions& how) const;
  // The open segment's bytes [from, to) as a sealed piece with its record in `folder`; answers their names, the record
  // first; none when the segment has been completed meanwhile.
  using Span = WalListing::Span;
  std::vector<std::string> sealPiece(const WalSegment& segment, Span span, const ArtifactOptions& how,
                                     const fs::path& folder) const;
  static std::optional<Span> spanOf(std::string_view file);  // of a piece's sealed file

  // Everything that is here now. Histories are read, nothing else is opened.
  WalListing listing() const;
  // Writes the file `name` to `destination` as recovery needs it: the open segment filled up with zeros, nothing of the
  // log behind `end`. False when the archive ends before it. Error(Damaged) when it is there and does not hold,
  // Error(NoInput) when it is missing and the log goes on behind it.
  bool fetch(const WalListing& listing, const std::string& name, const fs::path& destination, Lsn end = kNever) const;
  bool fetch(const std::string& name, const fs::path& destination) const;
  // The bytes [from, to) of one timeline's log, for a look at a few; fewer where it ends.
  std::string bytes(const WalListing& listing, std::uint32_t timeline, Lsn from, Lsn to) const;

  struct Piece {
    WalSegment segment;
    std::uint64_t size = 0;  // bytes of log in it
    bool sealed = false;
  };
  std::vector<Piece> pieces(std::uint32_t timeline) const;  // in order
  std::optional<Piece> newestPiece() const;                 // of the newest timeline that has any
  std::vector<std::uint32_t> timelines() const;             // in order
  using Reach = WalListing::Reach;
  Reach reach(std::uint32_t timeline, Lsn start) const { return listing().reach(timeline, start); }

  // The text of a timeline's history file.
  std::string history(std::uint32_t timeline) const;

  // Why the record of what is missing is not believed; empty when it is.
  std::string forgedInterruptions() const;
  // What was promised of a timeline; nullopt when nothing was. Throws Error(Damaged).
  std::optional<ConfirmedLog> confirmed(std::uint32_t timeline) const;
  // Of all; to be read before the listing that they are compared with.
  std::map<std::uint32_t, ConfirmedLog> promises() const;
  void confirm(const ConfirmedLog& confirmed) const;
  // Before a timeline's first byte is stored: log about which nothing is said looks as if that had been taken away.
  void begin(std::uint32_t timeline) const;
  // Of which timelines anything was ever promised; nullopt in an archive that has no list of them yet.
  std::optional<std::set<std::uint32_t>> confirmedTimelines() const;
  // Whether what is here holds what was promised: empty, or what is missing, for people. Reads the open segment.
  std::string shortOf(const WalListing& listing, const ConfirmedLog& confirmed) const;
  // The same of a timeline of which no promise is here: empty when none was made.
  std::string withoutPromise(const WalListing& listing, std::uint32_t timeline) const;

  // Removes complete segments that no recovery from one of `starts` reads: on each timeline those below the lowest
  // start on it or on a timeline before it (below all of them where there is none). Answers how many; none without
  // starts.
  std::size_t removeBefore(const std::vector<WalSegment>& starts) const;

  // Reads what recovery from the base backup would read: records and digests, with `content` also that everything
  // decrypts. Answers how many files. Throws Error(Damaged) for what does not hold, and for a gap that nobody wrote
  // down.
  std::size_t check(const PhysicalRecord& base, bool content) const;
  // The records and digests of these files only.
  void checkBranch(const WalListing& listing, const std::vector<std::string>& names) const;
  // The receiver could not get what was between, or what is there cannot be replayed: known from now on.
  void record(const WalListing::Interruption& interruption) const;

  void writeStatus(const WalStatus& status) const;
  std::optional<WalStatus> readStatus() const;

 private:
  storage::Place folder(std::string_view name) const;
  storage::Place folder(std::uint32_t timeline) const;
  std::map<std::uint64_t, WalListing::Segment> segments(std::uint32_t timeline) const;
  std::vector<WalListing::Interruption> interruptions() const;
  bool isCopy(std::uint32_t timeline) const;
  static bool recorded(const WalListing& listing, const Reach& reached);
  // nullopt when there is none.
  std::optional<FileRecord> readRecord(const std::string& segment, const std::string& name) const;
  bool readSegment(const WalListing::Segment& segment, const std::string& name, const ByteSink& sink) const;
  void readPieces(const WalListing::Segment& segment, const std::string& name, const ByteSink& sink) const;

  storage::Place directory_;
  const crypto::Keyring& keyring_;
};

}  // namespace aragora::backup
