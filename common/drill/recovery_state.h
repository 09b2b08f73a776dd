// What this deployment could be recovered from right now, as facts: read from the backups, the notes of those who save
// and receive, the evidence of drills, and asked of the live server. What the facts mean is said once, by
// recovery_findings.h: `backup status`, validate-env and the metrics say nothing of their own. Any thread.
#pragma once

#include "common/backup/offsite.h"
#include "common/backup/physical/recover.h"
#include "common/backup/saving_note.h"
#include "common/backup/shrinkage.h"
#include "common/drill/completeness.h"
#include "common/drill/evidence.h"
#include "common/drill/live_server.h"
#include "common/drill/objectives.h"
#include "common/drill/openable.h"
#include "common/drill/recovery_time.h"

namespace aragora::drill {

struct StateOptions {
  fs::path directory;  // of the backups
  Objectives objectives;
  const crypto::Keyring* keyring = nullptr;
  database::Target live;
  bool ask_server = true;              // for two seconds at most, over one connection
  bool ask_elsewhere = true;           // for five; not while `elsewhere` is known
  std::optional<Elsewhere> elsewhere;  // asked before
};

struct Proof {
  std::string backup;
  Micros at = 0;
  std::string how;  // "verified" or "drilled"
};

struct KindState {
  backup::Rule rule;
  std::size_t count = 0;
  std::vector<std::string> bad;         // why, each
  std::vector<std::string> future;      // dated after now, each with its date
  bool future_is_past = false;          // one that was made after those, of the right time, is proven
  std::optional<backup::Entry> newest;  // good, and of the past
  std::optional<backup::Entry> proven;
  std::optional<Micros> oldest;  // of the good ones
  std::optional<Proof> proof;    // the last time that one of this kind was restored
  Micros next_due = 0;           // 0: now; meaningless for what goes by changes
  std::string gone;              // what was made and is not there any more
  std::string gone_hint;
  std::vector<std::string> disbelieved;   // why what verification found is not believed
  bool late = false;                      // half a period past its time
  std::vector<backup::Shrinkage> shrunk;  // rows of the newest against those before it
};

struct LastDrill {
  std::string id;
  Micros at = 0;
  bool authentic = false;
  bool passed = false;
  std::optional<double> rto_seconds;
  std::optional<double> rpo_seconds;
};

// SQLite between two full backups.
struct IncrementState {
  std::optional<backup::SavingStatus> saving;  // nullopt: nobody ever saved continuously
  std::optional<Micros> newest;                // increment of the newest full backup, by its record
  Micros saved_through = 0;                    // everything until then is saved; 0: nothing is
  bool changed = false;                        // since then
  bool missing = false;                        // the newest increment that was written is not there
  std::vector<std::string> lacks;              // of the newest full backup's
};

// A place that the log cannot be replayed across.
struct Break {
  backup::WalListing::Interruption what;
  bool healed = false;  // a base backup begins behind it
};

struct RecoveryState {
  Micros at = 0;
  fs::path directory;
  bool sqlite = true;
  bool opens = true;             // the keys here: false on a machine that only writes backups
  std::vector<KindState> kinds;  // in the order of the policy
  std::vector<Openable> keys;    // per kind that there is, with increments and log
  IncrementState increments;     // of SQLite
  std::optional<backup::RecoveryWindow> window;
  std::vector<Break> breaks;                 // at or after the start of the window, in order
  std::vector<std::uint32_t> timelines;      // in the archive of the log
  std::vector<std::string> log_lacks;        // files that a recovery would need
  std::optional<Micros> newest_segment;      // complete, by its file
  std::optional<backup::WalStatus> log;      // the receiver here
  std::optional<backup::WalStatus> offsite;  // the log elsewhere
  std::optional<ServerSide> server;
  std::string told_failure;                   // why it is not known what the database was told of the newest backups
  std::optional<backup::OffsiteStatus> copy;  // the backups elsewhere
  std::string place_problem;                  // why the directory elsewhere is not what it is taken for
  std::optional<Elsewhere> elsewhere;         // what was found there; nullopt: not asked
  std::optional<LastDrill> drill;
  std::vector<Prediction> predictions;  // here, and elsewhere when there is a place
  std::uint64_t free_bytes = 0;
  bool directory_missing = false;  // nothing was saved yet
  bool no_inodes = false;
  bool read_only = false;

  const KindState& kind(backup::Kind which) const;
  // A base is expected only where log is received, artifacts and configuration where something makes them.
  bool matters(const KindState& kind) const;
  bool hasLog() const { return log || newest_segment; }
  // Seconds of commits that are not safe here, or elsewhere; nullopt when it is not known or nothing is continuous.
  std::optional<double> lossHere() const;
  std::optional<double> lossElsewhere() const;
  const Prediction* prediction(Where place) const;
};

RecoveryState recoveryState(const StateOptions& options);

}  // namespace aragora::drill
