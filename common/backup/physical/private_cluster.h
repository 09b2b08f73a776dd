// PostgreSQL on a directory of ours, reachable through a socket that only this user can open: recoveries are carried
// out and looked at there. Started as root it runs as the user `postgres`, who is made the owner of the directory.
#pragma once

#include <map>

#include "common/base/scratch.h"
#include "common/base/subprocess.h"
#include "common/database/connection.h"

namespace aragora::backup {

class PrivateCluster {
 public:
  // Starts the server with these settings on top of the directory's own.
  PrivateCluster(fs::path data, const std::map<std::string, std::string>& settings);
  PrivateCluster(const PrivateCluster&) = delete;
  PrivateCluster& operator=(const PrivateCluster&) = delete;
  ~PrivateCluster();

  // The same database and user as `live`, on this server.
  database::Target target(const database::Target& live) const;
  // Waits until recovery is over and the server takes writes. Throws Error(NoInput) when the log ended before the
  // target of the recovery, Error(Damaged) with the server's own words when it gave up, Error(Unreachable) at the
  // deadline.
  void waitUntilPromoted(const database::Target& live, Deadline deadline);
  // Fast shutdown; throws when the server does not stop.
  void stop();
  // What the server said, complete after stop().
  const std::string& log() const { return server_->errorOutput(); }

 private:
  [[noreturn]] void explainEnd(int status) const;
  fs::path data_;
  TemporaryDirectory socket_;
  std::unique_ptr<Subprocess> server_;
};

// Gives files made by root to the user that servers run as; nothing to do otherwise.
void giveToServerUser(const fs::path& path, bool recursively);

}  // namespace aragora::backup
