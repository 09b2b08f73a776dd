// Hands files of the log to a recovering PostgreSQL that may read neither the archive nor the key: its restore_command
// asks the process that runs the recovery, over a socket in a directory that only the server's user can enter, and is
// told where the file lies, ready to be moved away: it is never copied.
#pragma once

#include <atomic>
#include <thread>

#include "common/backup/physical/wal_archive.h"
#include "common/backup/physical/wal_prefetch.h"
#include "common/base/scratch.h"

namespace aragora::backup {

class WalServer {
 public:
  // What a recovery may see: the log as it was listed, up to `end` of the timeline that it goes to, and in which order
  // it will ask.
  struct Plan {
    WalListing listing;
    std::uint32_t timeline = 0;
    Lsn end = kNever;
    std::vector<std::string> order;
  };
  // Listens at once; the archive must outlive it. What is read ahead lies below `ahead`.
  WalServer(const WalArchive& archive, Plan plan, const fs::path& ahead);
  WalServer(const WalServer&) = delete;
  WalServer& operator=(const WalServer&) = delete;
  ~WalServer();
  fs::path socket() const { return directory_.path() / "wal"; }
  // Files that are ready lie there under their names: moving one away is as good as asking for it, and much cheaper.
  const fs::path& ahead() const { return ahead_.directory(); }
  std::size_t served() { return ahead_.taken(); }
  std::size_t work() const { return answered_ + ahead_.fetched(); }  // changes while something is done

 private:
  void run();
  void answer(int connection);
  bool fetch(const std::string& name, const fs::path& destination) const;
  const WalArchive& archive_;
  const Plan plan_;
  TemporaryDirectory directory_;
  Fd listener_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> answered_{0};
  WalPrefetch ahead_;
  std::thread thread_;
};

// The other side: false when the archive ends before `name`. Throws Error(Damaged | NoInput) with what the server said,
// as WalArchive::fetch does, Error(Unreachable) when it is gone.
bool fetchFromWalServer(const fs::path& socket, const std::string& name, const fs::path& destination);

}  // namespace aragora::backup
