// Where a restore on PostgreSQL takes place: the server, and the database whose place the restored one takes, which
// need not exist yet. What would refuse the swap is looked for before hours are spent on loading, and once more when it
// comes to it. Works from the maintenance database: a database cannot be renamed from inside. One thread.
#pragma once

#include <memory>

#include "common/database/connection.h"

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
  // Looks again, then both renames or none; `kept` is empty where there was no live database.
  void swap(const std::string& landing, const std::string& kept) const;

 private:
  void requireUnused() const;
  std::string live_;
  std::unique_ptr<database::Connection> admin_;
};

// Error(CannotCreate) when the file system of `directory` has less than `bytes` free.
void requireFreeSpace(const std::filesystem::path& directory, std::uint64_t bytes);

}  // namespace aragora::backup
