// A bounded pool of PostgreSQL connections. Waiting for one, connecting and every statement have deadlines; a
// connection that died while idle is replaced without the caller noticing, so a server restart needs no restart of
// ours. While the server is down callers fail fast: one connection attempt every 500 ms, the others hear its answer.
// One that goes silent is noticed by ping(), which looks on a connection of its own (of `pool_size`; where that is 1 it
// shares the one): from then on nobody waits for it until a look finds it back. Of a list of servers the one that
// answered last is tried first, and one that was left behind by a failover is not taken.
#pragma once

#include <mutex>

#include "common/base/clock.h"
#include "common/database/database.h"
#include "common/database/postgres/postgres_connection.h"
#include "common/database/waiting_line.h"

namespace aragora::database::postgres {

class PostgresDatabase : public Database {
 public:
  explicit PostgresDatabase(const Target& target) : target_(target), own_probe_(target.pool_size > 1) {}

  Engine engine() const override { return Engine::Postgres; }
  void read(const Work& work) override;
  Rows query(std::string_view sql, const Values& values) override;
  void write(const Work& work) override;
  // One thread. Throws Failure with a `reason` in its details that is for everybody.
  void ping() override;
  std::string whyReadOnly() override;  // as the last ping() found it
  std::string version() override;
  PoolState pool() const override;

 private:
  class Lease;
  void run(const Work& work, std::string_view begin);
  Rows ask(std::string_view sql, const Values& values, std::chrono::milliseconds patience);

  std::size_t capacity() const { return target_.pool_size - (own_probe_ ? 1 : 0); }
  void awaitRoom(std::unique_lock<std::mutex>& lock, Deadline deadline);
  bool failedLately() const;
  std::string looked(Deadline deadline);
  std::unique_ptr<PostgresConnection> connectionToLook(Deadline deadline);
  bool stillHeard() const;
  void giveUpWaiting();
  void dropIdle();

  Target target_;
  bool own_probe_;
  Outlook outlook_;
  std::unique_ptr<PostgresConnection> probe_;  // of ping()'s thread, as is what it found
  std::string read_only_;
  mutable std::mutex mutex_;
  WaitingLine line_;
  std::vector<std::unique_ptr<PostgresConnection>> idle_;
  std::size_t open_ = 0;
  std::chrono::steady_clock::time_point failed_at_{};
  std::string failure_;
};

}  // namespace aragora::database::postgres
