// PostgreSQL on a directory of ours, in a sealed room: recoveries are carried out and looked at there. It runs with a
// configuration of ours only, without the source's libraries, background and replication workers and commands, without
// a network where the system lets us take it away, and is reachable through a socket that only this user can open.
// Started as root it runs as the user `postgres`, who is made the owner of the directory.
#pragma once

#include <map>

#include "common/base/error.h"
#include "common/base/scratch.h"
#include "common/base/subprocess.h"
#include "common/database/connection.h"

namespace aragora::backup {

// The server gave up; what() has its own words.
class RecoveryEnded : public Error {
 public:
  enum class Why { LogEndedBeforeTarget, TargetBeforeBackup, Damaged, DidNotStart, Stalled };
  RecoveryEnded(Why why, Code code, const std::string& message, const std::string& hint = {})
      : Error(code, message, hint), why_(why) {}
  Why why() const { return why_; }

 private:
  Why why_;
};

// Settings that recovery wants to be at least what they were on the source, as pg_control has them: PostgreSQL notes
// there what a base backup began with and what the replayed log changed them to.
std::map<std::string, std::string> recordedLimits(const fs::path& data);

class PrivateCluster {
 public:
  // Starts the server with these settings and ours; the directory's own are set aside (source_configuration.h).
  PrivateCluster(fs::path data, const std::map<std::string, std::string>& settings);
  PrivateCluster(const PrivateCluster&) = delete;
  PrivateCluster& operator=(const PrivateCluster&) = delete;
  ~PrivateCluster();

  // The same database and user as `live`, on this server.
  // With Purpose::Look nothing that is asked there can write.
  enum class Purpose { Work, Look };
  database::Target target(const database::Target& live, Purpose purpose = Purpose::Work) const;
  // Waits until recovery is over and the server takes writes. Throws RecoveryEnded when the server gives up or nothing
  // moves for `kStandstill`, Error(Unreachable) at the deadline. `work` counts what is done for the server elsewhere:
  // while it changes, something moves.
  void waitUntilPromoted(Deadline deadline, const std::function<std::size_t()>& work = {});
  // Throws Error(Config) naming the databases that there are when the one of `live` is not among them.
  void requireDatabase(const database::Target& live) const;
  // Fast shutdown; throws when the server does not stop.
  void stop();

  static constexpr std::chrono::seconds kStandstill{60};

 private:
  [[noreturn]] void explainEnd(int status) const;
  void shutDown(const char* mode, std::chrono::seconds time);
  bool ready() const;
  fs::path data_;
  TemporaryDirectory socket_;
  std::unique_ptr<Subprocess> server_;
};

// Gives files made by root to the user that servers run as; nothing to do otherwise.
void giveToServerUser(const fs::path& path, bool recursively);
// That it may enter the directory, or the nearest one on the way up that exists: Error(Permission).
void requireServerUserEnters(const fs::path& directory);

}  // namespace aragora::backup
