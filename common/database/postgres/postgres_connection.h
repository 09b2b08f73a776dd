// A libpq connection. Connecting and every statement have deadlines of their own, kept on our side (a statement that
// runs over is cancelled), so that they also hold through PgBouncer, where session settings do not stick.
#pragma once

#include <algorithm>
#include <map>
#include <optional>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/database/connection.h"
#include "common/database/postgres/connection_url.h"
#include "common/database/postgres/outlook.h"

struct pg_conn;
struct pg_result;

namespace aragora::database::postgres {

// The same target with the one server of its list that answers now, so that all parts of a work meet one server.
// Connects.
Target pinned(const Target& target);
// The same server, from a database that surely is there and is not the one that is worked on: postgres, else template1,
// else the one that `target` names; pinned. Connects; throws what the first one said when none can be reached.
Target maintenance(const Target& target);
// What a standby answers to whatever writes.
bool isReadOnly(const Error& error);
// Drops a database, if there is one, and ends the sessions in it. Not WITH (FORCE): that would also end autovacuum,
// which only a superuser may; a plain DROP sends it away by itself and waits five seconds for everybody to be gone.
void dropDatabase(Connection& admin, const std::string& name);

// How a connection belongs to a pool.
enum class Role { Works, Looks };  // whoever looks whether a server is back goes on while it counts as away
struct Company {
  Outlook* outlook = nullptr;  // outlives the connection
  Role role = Role::Works;
};

class PostgresConnection : public Connection {
 public:
  explicit PostgresConnection(const Target& target, const Company& company = {});
  ~PostgresConnection() override;

  Engine engine() const override { return Engine::Postgres; }
  Rows query(std::string_view sql, const Values& values) override;
  std::int64_t execute(std::string_view sql, const Values& values) override;
  void executeScript(std::string_view sql, bool unbounded = false) override;
  bool usable() const override;
  // With a deadline of its own.
  Rows queryUntil(Deadline deadline, std::string_view sql, const Values& values = {});
  // What can wait is sent with what cannot, or with COMMIT, in one pipeline: one round trip. A pooler in transaction
  // mode keeps no prepared statements: through one each goes at once.
  void later(Statement statement) override;
  void begin(std::string_view sql) override;
  void commit() override;
  void rollBack() override;
  // Of the transaction that was begun last nothing was answered, and its COMMIT was not sent.
  bool nothingDone() const { return nothing_done_; }
  // Not once a cancel was sent: it may come late, and end the statement of whoever has the connection next.
  bool reusable() const { return usable() && !cancelled_; }

  // Every statement from now on ends by then, too: several that have a limit together. What does not is not cancelled,
  // which would take time of its own: the connection is given up.
  void endBy(Deadline deadline) { end_by_ = deadline; }
  int serverVersion() const;                        // 150020
  const Secret& server() const { return server_; }  // a connection string of the one server that answered
  bool throughPooler();                             // PgBouncer or the like is between us and the server
  bool looksAlive();                                // nothing unexpected waits on the socket

 private:
  struct Result;
  Result wait(Deadline deadline);
  bool awaits(short events, Deadline deadline);
  void open(const Target& target);
  void setUp();
  bool leftBehind();
  // The next result of what was sent, empty when there is none.
  Result nextResult(Deadline deadline);
  // Everything that waits; the result of the last.
  Result sendWaiting(Deadline deadline);
  Result receivePipeline(Deadline deadline);
  Rows rowsOf(const Result& result);
  const std::string& prepared(const std::string& sql, std::size_t parameters);
  void drop();
  [[noreturn]] void giveUp(std::string_view what);
  [[noreturn]] void fail(pg_result* result);
  Deadline statementDeadline() const { return std::min(deadlineIn(statement_timeout_), end_by_); }

  Company company_;
  pg_conn* handle_ = nullptr;
  Secret server_;
  std::string where_;
  std::chrono::milliseconds statement_timeout_;
  Deadline end_by_ = Deadline::max();
  std::map<std::string, std::string, std::less<>> prepared_;  // SQL -> statement name
  struct Waiting {
    std::string sql;
    Values values;
  };
  std::vector<Waiting> waiting_;
  bool nothing_done_ = false;
  bool cancelled_ = false;
  std::string warning_;  // the last one of the server
  std::optional<bool> pooler_;
  std::int64_t changed_ = 0;
};

}  // namespace aragora::database::postgres
