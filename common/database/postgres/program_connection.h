// PostgreSQL's own programs (pg_dump, pg_restore, pg_basebackup) on the connection that we would make: all that libpq
// knows goes to them as a service in a file in memory, so that nothing of it stands in their arguments, where everybody
// reads it, nor the password in their environment, and no variable of the environment has a say before it.
#pragma once

#include "common/base/file.h"
#include "common/base/secret.h"
#include "common/base/subprocess.h"

namespace aragora::database::postgres {

class ProgramConnection {
 public:
  // Throws Error(Config) for a value that no file of services can hold.
  explicit ProgramConnection(const Secret& url);
  // Valid while this lives.
  Command command(std::vector<std::string> argv) const;

 private:
  void usePassword(const std::string& password);
  std::map<std::string, std::string> environment_;
  Fd service_;
  Fd passwords_;
};

// A newer server's data copied by an older program fails late or not at all: throws Error(Config) naming the package.
void requireProgramVersion(const std::string& program, int server_version);

}  // namespace aragora::database::postgres
