// Loads what pg_dump -Fc wrote into an empty database, with three runs of pg_restore over one pass of the bytes: the
// structure and, at the end, indexes, keys and the like come from the archive's head, which is kept in memory; the data
// streams through between them. So an object that only a superuser can make fails by itself, is named and left out,
// and never the data with it. One thread.
#pragma once

#include <string>
#include <vector>

#include "common/base/subprocess.h"
#include "common/database/connection.h"
#include "common/database/postgres/program_connection.h"

namespace aragora::backup {

enum class Ownership { OfTheLoader, AsDumped };

class DumpLoader {
 public:
  // Error(CouldNotVerify) when there is no pg_restore.
  DumpLoader(const database::Target& target, Ownership ownership);
  // Bytes of the archive. Never fails for what pg_restore says: damage of the archive explains more.
  void write(std::string_view bytes);
  // At the end of the archive. Error(CouldNotVerify) for trouble of the environment, Error(Damaged) for the rest.
  void finish();

  // What is not there, each with its reason: nothing that holds data.
  const std::vector<std::string>& skipped() const { return skipped_; }
  // Privileges that were not given although what they are for is there.
  const std::vector<std::string>& withoutPrivileges() const { return privileges_; }

 private:
  std::unique_ptr<Subprocess> start(const std::string& section) const;
  void endOfStructure();
  void judge(Subprocess& run);
  bool blamesEnvironment(std::string_view message) const;
  database::postgres::ProgramConnection programs_;
  Ownership ownership_;
  bool english_;      // what the server says can be read
  std::string head_;  // all bytes so far, while the structure is loaded
  std::unique_ptr<Subprocess> structure_;
  std::unique_ptr<Subprocess> data_;
  bool data_takes_ = true;
  std::vector<std::string> skipped_;
  std::vector<std::string> privileges_;
};

// Whether a message of PostgreSQL or its programs speaks of rights, room, versions or what is not installed.
bool speaksOfTheEnvironment(std::string_view message);
// pg_restore that is missing or older than what it shall read: Error(CouldNotVerify).
void requireRestoreProgram(const std::string& dumped_from);

}  // namespace aragora::backup
