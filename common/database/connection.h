// One interface over both engines. SQL texts are written once in the common subset: $1 parameters, ON CONFLICT,
// RETURNING, integers for times (microseconds) and truth (0/1), text for JSON. Rows are copies: they outlive
// everything. A Connection belongs to one thread at a time. Failures are Errors: Conflict (unique or foreign key),
// Unreachable (connection lost), Busy (lock or serialisation), Internal with the SQLSTATE otherwise; never with bound
// values.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/secret.h"

namespace aragora::database {

enum class Engine { Sqlite, Postgres };
std::string_view name(Engine engine);
// A name as SQL of both takes it, whatever is in it.
std::string quoteIdentifier(std::string_view name);
// As documents have it: "sqlite", "postgres".
std::string_view storedName(Engine engine);
std::optional<Engine> parseEngine(std::string_view stored_name);

using Value = std::variant<std::monostate, std::int64_t, double, std::string>;
using Values = std::vector<Value>;

struct Statement {
  std::string_view sql;
  Values values;
};

class Row {
 public:
  bool isNull(std::size_t column) const { return !cells_.at(column).has_value(); }
  const std::string& text(std::size_t column) const;  // empty for NULL
  std::int64_t integer(std::size_t column) const;     // 0 for NULL
  double number(std::size_t column) const;
  std::optional<std::int64_t> optionalInteger(std::size_t column) const;
  void reserve(std::size_t columns) { cells_.reserve(columns); }
  void add(std::optional<std::string> cell) { cells_.push_back(std::move(cell)); }

 private:
  std::vector<std::optional<std::string>> cells_;
};

using Rows = std::vector<Row>;

class Connection {
 public:
  virtual ~Connection() = default;
  virtual Engine engine() const = 0;
  // One statement with parameters; prepared and kept. Waits at most the statement timeout.
  virtual Rows query(std::string_view sql, const Values& values = {}) = 0;
  // The same, answering the number of rows changed.
  virtual std::int64_t execute(std::string_view sql, const Values& values = {}) = 0;
  // A statement of a transaction whose rows nobody wants: done before the next one of the other kinds at the latest.
  // Where the engine can, they go in one message, and fail there.
  virtual void later(Statement statement) { query(statement.sql, statement.values); }
  // What Transaction does; `begin` with the first statement where the engine can, `commit` with the last.
  virtual void begin(std::string_view sql) { executeScript(sql); }
  virtual void commit() { executeScript("COMMIT"); }
  virtual void rollBack() { executeScript("ROLLBACK"); }
  // Statements without parameters, as they are (migrations); no statement timeout when `unbounded`.
  virtual void executeScript(std::string_view sql, bool unbounded = false) = 0;
  // False once the connection is lost for good.
  virtual bool usable() const = 0;
};

// Rolls back unless committed. Nesting is a bug.
class Transaction {
 public:
  enum class Begins { Now, WithFirstStatement };
  // `begin` may ask for more, such as "BEGIN IMMEDIATE".
  explicit Transaction(Connection& connection, std::string_view begin = "BEGIN", Begins begins = Begins::Now);
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();
  void commit();

 private:
  Connection& connection_;
  bool done_ = false;
};

// Where and how to connect.
struct Target {
  Engine engine = Engine::Sqlite;
  std::filesystem::path path;  // SQLite
  Secret url;                  // PostgreSQL
  std::chrono::milliseconds connect_timeout{4000};
  std::chrono::milliseconds statement_timeout{10000};
  std::chrono::milliseconds acquire_timeout{2000};
  std::size_t pool_size = 8;
  std::string application_name = "aragora";
};

// «PostgreSQL aragora@db.example:5432/aragora» or the file's path: never a password.
std::string describe(const Target& target);

// A connection of its own, outside any pool. SQLite: the file must exist unless `create`.
enum class OpenMode { ReadOnly, ReadWrite, Create };
std::unique_ptr<Connection> connect(const Target& target, OpenMode mode = OpenMode::ReadWrite);

}  // namespace aragora::database
