// A bounded pool of PostgreSQL connections. Waiting for one, connecting and every statement have deadlines; a
// connection that died while idle is replaced without the caller noticing, so a server restart needs no restart of
// ours. While the server is down callers fail fast: one connection attempt every 500 ms, the others hear its answer.
#pragma once

#include <condition_variable>
#include <mutex>

#include "common/database/database.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::database::postgres {

class PostgresDatabase : public Database {
 public:
  explicit PostgresDatabase(const Target& target) : target_(target) {}

  Engine engine() const override { return Engine::Postgres; }
  void read(const Work& work) override;
  Rows query(std::string_view sql, const Values& values) override;
  void write(const Work& work) override;
  void ping() override;
  std::string whyReadOnly() override;
  std::string version() override;
  PoolState pool() const override;

 private:
  class Lease;
  void run(const Work& work, std::string_view begin);
  Rows ask(std::string_view sql, const Values& values, std::chrono::milliseconds patience);

  Target target_;
  mutable std::mutex mutex_;
  std::condition_variable_any returned_;
  std::vector<std::unique_ptr<PostgresConnection>> idle_;
  std::size_t open_ = 0;
  std::chrono::steady_clock::time_point failed_at_{};
  std::string failure_;
};

}  // namespace aragora::database::postgres
