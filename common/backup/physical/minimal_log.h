// Looks for log that was written with wal_level = minimal, which PostgreSQL cannot replay. Whoever sets that for a
// while restarts the server twice, and nobody is connected in between: only the log that came into being while we were
// away can hold such a time. It is looked through once, in a thread of its own beside the stream, as soon as it is
// here. Owned by the receiver, used from its thread; the archive must outlive it.
#pragma once

#include <future>

#include "common/backup/physical/wal_archive.h"
#include "common/backup/physical/wal_search.h"
#include "common/base/interrupt.h"

namespace aragora::backup {

class MinimalLog {
 public:
  MinimalLog(const WalArchive& archive, interrupt::Switch stop) : archive_(archive), stop_(std::move(stop)) {}

  // What the server wrote while nobody was connected.
  void expect(const Stretch& away) { away_ = away; }
  // Begins when what is expected is on disk, which is so up to `flushed`.
  void lookOnce(Lsn flushed);
  // What a look that is over has found and is not recorded yet; once.
  std::optional<WalListing::Interruption> found();

 private:
  const WalArchive& archive_;
  const interrupt::Switch stop_;
  std::optional<Stretch> away_;
  std::future<std::optional<WalListing::Interruption>> looking_;
};

}  // namespace aragora::backup
