// Where a restore on PostgreSQL takes place: the server, and the database whose place the restored one takes, which
// need not exist yet. What would refuse the swap is looked for before hours are spent on loading, and once more when it
// comes to it. Works from the maintenance database: a database cannot be renamed from inside. One thread.
#pragma once

#include <memory>

#include "common/backup/database_properties.h"

namespace aragora::backup {

class PostgresSite {
 public:
  // Error(Unreachable) when the server does not answer.
  explicit PostgresSite(const database::Target& target);
  const std::string& live() const { return live_; }
  bool exists() const;

  // That a new database can be made beside it: Error(Permission | Config | CannotCreate). `name`: must not exist yet.
  // `bytes`: how much it will hold at least; compared with the free space where the server's disk can be seen from
  // here.
  void requireRoom(const std::string& name, std::uint64_t bytes) const;
  // That the live database can be renamed: Error(Busy) while sessions use it, Error(Permission).
  void requireReplaceable() const;
  // Error(Config) when the server lacks a role that the database names.
  void requireRoles(const DatabaseProperties& properties) const;

  struct Names {
    std::string landing;
    std::string final;  // the same: nothing is renamed
    std::string kept;   // empty where there was no live database
  };
  // Looks again, then in one transaction gives the landed database its properties, compares them and renames; all or
  // nothing. A rehearsal does the same and rolls back. Error(Damaged) for a property that is not as it was.
  enum class Swap { Rehearsal, Real };
  void swap(const Names& names, const std::optional<DatabaseProperties>& properties, Swap how) const;

  // A name that is not taken: the live one's, as far as PostgreSQL's 63 bytes have room for it, `what` and the time.
  std::string freeName(const std::string& what) const;
  // Logical slots of the live database, which follow it to its new name.
  std::vector<std::string> slots() const;

 private:
  bool taken(const std::string& name) const;
  void requireUnused() const;
  void rename(const std::string& from, const std::string& to) const;
  std::string live_;
  bool inside_ = false;  // no other database than the live one lets us in
  std::unique_ptr<database::Connection> admin_;
};

// Error(CannotCreate) when the file system of `directory` has less than `bytes` free.
void requireFreeSpace(const std::filesystem::path& directory, std::uint64_t bytes);

}  // namespace aragora::backup
