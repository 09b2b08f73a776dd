// The copy of the backups elsewhere: the same tree at another place, so that everything which reads backups reads it
// too. Backups go there once, data first and manifest last; the log goes as it comes, the open segment in sealed
// pieces. What a run could not copy, the next one does. One owner, one thread; asks the place once what it has and
// remembers.
#pragma once

#include <map>
#include <set>

#include "common/backup/physical/wal_archive.h"
#include "common/backup/repository.h"

namespace aragora::backup {

struct CopyReport {
  std::size_t backups = 0;
  std::size_t files = 0;  // everything else: log, increments, notes
  std::uint64_t bytes = 0;
  std::vector<std::string> refused;  // damaged here: why, and not copied
};

// What the last run of copyBackups() wrote down in DIR/offsite.json.
struct OffsiteStatus {
  std::string place;
  Micros at = 0;           // of the last run
  Micros complete_at = 0;  // of the last one that copied everything
  std::string problem;     // of the last run, empty when it went well
};

class OffsiteCopy {
 public:
  OffsiteCopy(fs::path here, storage::Place there, const crypto::Keyring& keyring)
      : here_(std::move(here)), there_(std::move(there)), keyring_(keyring) {}
  const storage::Place& place() const { return there_; }

  // Backups, increments, notes about them and evidence of drills. Error(Busy) when another run still does it after
  // `wait`, Error(Conflict) when the place holds those of another deployment.
  CopyReport copyBackups(std::chrono::seconds wait);
  // From now on nothing counts as being there.
  void writeEverythingAgain() { again_ = true; }
  void showTo(Progress* progress) { progress_ = progress; }
  // Complete segments and histories, the open segment up to what is on disk here, and how far the copy reaches
  // (wal/status.json there, wal/offsite.json here). Error(Busy) when another run does it.
  CopyReport copyLog(const ArtifactOptions& sealing);

 private:
  struct Folder;
  Folder folder(const std::string& name);
  void copyAll(CopyReport& report);
  void writeStatus(const OffsiteStatus& status) const;
  void requireOurs();
  void requireOurCluster();
  bool isThere(const Entry& entry, Kind kind);
  void copyBackup(const Entry& entry, Kind kind, CopyReport& report);
  void noteLedgerThere(Kind kind);
  void copyIncrements(CopyReport& report);
  void copyNotes(const std::string& name, bool may_vanish, CopyReport& report);
  void copyGaps(CopyReport& report);
  void copySegments(std::uint32_t timeline, CopyReport& report);
  static void forgetPieces(const Folder& target, const std::string& segment);
  void copyOpenSegment(const WalArchive& log, const WalStatus& status, const ArtifactOptions& sealing,
                       CopyReport& report);
  void tellHowFar(const WalStatus& status);
  void beginThere(std::uint32_t timeline);
  void confirmThere(ConfirmedLog promised);
  void noteTimelineThere(std::uint32_t timeline);

  fs::path here_;
  storage::Place there_;
  const crypto::Keyring& keyring_;
  std::map<std::string, std::map<std::string, std::uint64_t>> known_;  // folder there -> names and sizes
  std::map<std::string, std::string> notes_;                           // what was last written there
  std::set<Kind> noted_;                                               // kinds whose ledger there is up to date
  bool again_ = false;
  Progress* progress_ = nullptr;
  std::map<std::uint32_t, ConfirmedLog> promised_;  // of each timeline, what was last confirmed there
  Lsn told_ = 0;
  Micros told_at_ = 0;
};

// nullopt before the first run.
std::optional<OffsiteStatus> offsiteStatus(const fs::path& here);

// How far the copy of the log elsewhere reaches, as the last copying run wrote it down; nullopt without one.
std::optional<WalStatus> offsiteLogStatus(const fs::path& here);

}  // namespace aragora::backup
