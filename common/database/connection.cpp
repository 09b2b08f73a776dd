#include "common/database/connection.h"

#include "common/base/log.h"
#include "common/base/names.h"
#include "common/base/text.h"

namespace aragora::database {

namespace {
constexpr Names<Engine, 2> kStoredNames{{{Engine::Sqlite, "sqlite"}, {Engine::Postgres, "postgres"}}};
}  // namespace

std::string quoteIdentifier(std::string_view name) {
  return fmt::format("\"{}\"", replaceAll(std::string(name), "\"", "\"\""));
}

std::string_view storedName(Engine engine) { return nameIn(kStoredNames, engine); }
std::optional<Engine> parseEngine(std::string_view stored_name) { return parseIn(kStoredNames, stored_name); }

std::string_view name(Engine engine) { return engine == Engine::Sqlite ? "SQLite" : "PostgreSQL"; }

const std::string& Row::text(std::size_t column) const {
  static const std::string empty;
  const auto& cell = cells_.at(column);
  return cell ? *cell : empty;
}

std::int64_t Row::integer(std::size_t column) const { return parseInteger(text(column)).value_or(0); }

double Row::number(std::size_t column) const { return isNull(column) ? 0 : std::strtod(text(column).c_str(), nullptr); }

std::optional<std::int64_t> Row::optionalInteger(std::size_t column) const {
  return isNull(column) ? std::nullopt : std::optional(integer(column));
}

Transaction::Transaction(Connection& connection, std::string_view begin, Begins begins) : connection_(connection) {
  if (begins == Begins::Now)
    connection_.executeScript(begin);
  else
    connection_.begin(begin);
}

Transaction::~Transaction() {
  if (done_ || !connection_.usable()) return;
  try {
    connection_.rollBack();
  } catch (const std::exception& error) {
    log::debug("rollback failed: {}", error.what());  // the connection is closed by its owner, which rolls back too
  }
}

void Transaction::commit() {
  connection_.commit();
  done_ = true;
}

}  // namespace aragora::database
