// The live database of a daemon or command: many threads read and write through it. `read` gives a consistent snapshot;
// `write` runs in a transaction and returns only when it is durable. The function may be run again after a
// serialisation failure, so it must have no effect but on the connection. Exceptions roll back and pass through.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "common/base/error.h"
#include "common/database/connection.h"

namespace aragora::database {

// What the database itself said no to, or that it cannot be reached. Its words name roles, hosts and tables: for
// operators, never for API clients.
class Failure : public Error {
 public:
  explicit Failure(Error error) : Error(std::move(error)) {}
};

class Database {
 public:
  using Work = std::function<void(Connection&)>;

  virtual ~Database() = default;
  virtual Engine engine() const = 0;
  virtual void read(const Work& work) = 0;
  // The rows of one statement that reads. PostgreSQL: one round trip, where read() takes three.
  virtual Rows query(std::string_view sql, const Values& values = {}) = 0;
  virtual void write(const Work& work) = 0;
  // All or none of the statements, durable when it returns; for writes that read nothing. PostgreSQL: one round trip.
  void writeAll(const std::vector<Statement>& statements) {
    write([&](Connection& connection) {
      for (const auto& statement : statements) connection.later(statement);
    });
  }
  // A cheap round trip; throws Error(Unreachable).
  virtual void ping() = 0;
  // Why nothing can be written at the moment: a standby, a file system mounted read-only. Empty when it can.
  virtual std::string whyReadOnly() = 0;
  virtual std::string version() = 0;
  // How many reads and writes it failed since the last call; looks at its health do not count, nor does a constraint
  // that was violated: then it did its work.
  std::uint64_t takeFailures() { return failures_.exchange(0); }
  // What is full, since a write failed for lack of space and until somebody has seen that there is some again.
  std::string whyFull() const;
  void foundSpace();
  struct PoolState {
    std::size_t size = 0;
    std::size_t available = 0;
  };
  virtual PoolState pool() const = 0;

  // The same with a result.
  template <typename Function>
  auto reading(Function&& function) {
    std::optional<std::invoke_result_t<Function, Connection&>> result;
    read([&](Connection& connection) { result = function(connection); });
    return std::move(*result);
  }
  template <typename Function>
  auto writing(Function&& function) {
    std::optional<std::invoke_result_t<Function, Connection&>> result;
    write([&](Connection& connection) { result = function(connection); });
    return std::move(*result);
  }

 protected:
  // Runs a read or a write, and notices how it fails.
  template <typename Function>
  auto noticing(Function&& function) {
    try {
      return function();
    } catch (const Failure& failure) {
      notice(failure);
      throw;
    }
  }

 private:
  void notice(const Failure& failure);
  std::atomic<std::uint64_t> failures_{0};
  mutable std::mutex full_mutex_;
  std::string full_;
};

// Opens the engine that `target` names. SQLite: creates the file when missing.
std::unique_ptr<Database> openDatabase(const Target& target);

}  // namespace aragora::database
