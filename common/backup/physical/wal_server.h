// Hands files of the log to a recovering PostgreSQL that may read neither the archive nor the key: its restore_command
// asks the process that runs the recovery, over a socket in a directory that only the server's user can enter.
#pragma once

#include <atomic>
#include <thread>

#include "common/backup/physical/wal_archive.h"
#include "common/base/scratch.h"

namespace aragora::backup {

class WalServer {
 public:
  // Listens at once; the archive must outlive it.
  explicit WalServer(const WalArchive& archive);
  WalServer(const WalServer&) = delete;
  WalServer& operator=(const WalServer&) = delete;
  ~WalServer();
  fs::path socket() const { return directory_.path() / "wal"; }
  std::size_t served() const { return served_; }

 private:
  void run();
  void answer(int connection);
  const WalArchive& archive_;
  TemporaryDirectory directory_;
  Fd listener_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> served_{0};
  std::thread thread_;
};

// The other side: false when the archive ends before `name`. Throws Error(Damaged | NoInput) with what the server said,
// as WalArchive::fetch does, Error(Unreachable) when it is gone.
bool fetchFromWalServer(const fs::path& socket, const std::string& name, const fs::path& destination);

}  // namespace aragora::backup
