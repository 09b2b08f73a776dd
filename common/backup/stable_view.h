// One view of a PostgreSQL database for counting and dumping. A snapshot alone is none: a table that is rewritten
// (ALTER TYPE, CLUSTER, VACUUM FULL), emptied or dropped after it was taken looks empty or foreign to whoever reads it
// later. So every table is locked against that first (ACCESS SHARE, as pg_dump does), then the snapshot is taken, and
// then it is compared what the snapshot sees with what was locked. One thread; ends with the transaction.
#pragma once

#include <optional>

#include "common/base/clock.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::backup {

class StableView {
 public:
  // Waits for changes of the schema that are under way until `deadline`, then Error(Busy) naming the table. Runs on
  // `connection`, which then is in the transaction and counts without waiting for anybody.
  StableView(database::postgres::PostgresConnection& connection, Deadline deadline);
  const std::string& snapshot() const { return snapshot_; }
  std::int64_t backend() const { return backend_; }
  // Who waits to change a locked table, asked on another connection; nullopt: nobody. Everybody who comes later to read
  // that table waits behind them, pg_dump too, as long as this view stands.
  std::optional<std::string> whoWaits(database::Connection& other) const;

 private:
  struct Table {
    std::int64_t oid = 0;
    std::string name;
    bool operator==(const Table&) const = default;
  };
  static std::vector<Table> tablesOf(database::Connection& connection);
  bool tryLock(const std::vector<Table>& tables, Deadline deadline);
  database::postgres::PostgresConnection& connection_;
  std::optional<database::Transaction> transaction_;
  std::vector<Table> tables_;
  std::string snapshot_;
  std::int64_t backend_ = 0;
};

}  // namespace aragora::backup
