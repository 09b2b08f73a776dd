#include "common/database/postgres/postgres_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"

namespace aragora::database::postgres {

namespace {
using Options = std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)>;

constexpr std::string_view kReadOnly = "25006";

Code codeOf(std::string_view state) {
  if (state == "23505" || state == "23503" || state == "23514" || state == "23502") return Code::Conflict;
  if (state.empty() || startsWith(state, "08") || startsWith(state, "57P") || state == "53300")
    return Code::Unreachable;
  if (state == "40001" || state == "40P01" || state == "55P03") return Code::Busy;
  if (state == "42501" || startsWith(state, "28")) return Code::Permission;
  if (state == "57014") return Code::Overloaded;
  if (state == kReadOnly) return Code::Config;
  return Code::Internal;
}

bool waitFor(int socket, bool write, Deadline deadline) {
  while (true) {
    interrupt::check();
    const bool wakes = !interrupt::signal();
    pollfd entries[] = {{socket, static_cast<short>(write ? POLLOUT : POLLIN), 0},
                        {wakes ? interrupt::descriptor() : -1, POLLIN, 0}};
    const int ready = ::poll(entries, 2, static_cast<int>(remaining(deadline).count()));
    if (ready > 0 && entries[0].revents != 0) return true;
    if (ready == 0 || (ready < 0 && errno != EINTR)) return false;
  }
}

std::string firstLine(const char* text) {
  const std::string_view all(text != nullptr ? text : "");
  return std::string(trim(all.substr(0, all.find('\n'))));
}
}  // namespace

struct PostgresConnection::Result {
  PGresult* handle = nullptr;
  explicit Result(PGresult* result) : handle(result) {}
  Result(Result&& other) noexcept : handle(std::exchange(other.handle, nullptr)) {}
  Result& operator=(Result&& other) noexcept {
    std::swap(handle, other.handle);
    return *this;
  }
  ~Result() { PQclear(handle); }
};

namespace {
// As libpq chooses them when it connects: PGUSER or the system's user, PGDATABASE or the name of the user.
void addDefaults(std::map<std::string, std::string>& parts) {
  if (parts.count("service") > 0) return;  // a file of libpq's says
  const Options defaults(PQconndefaults(), PQconninfoFree);
  for (const auto* option = defaults.get(); option != nullptr && option->keyword != nullptr; ++option) {
    const std::string_view name(option->keyword);
    if ((name == "user" || name == "dbname") && option->val != nullptr && *option->val != '\0')
      parts.try_emplace(option->keyword, option->val);
  }
  if (const auto user = parts.find("user"); user != parts.end()) parts.try_emplace("dbname", user->second);
}
// What the URL names, if it names it as empty too: that keeps libpq from taking it from the environment.
std::map<std::string, std::string> named(const Secret& url) {
  char* reason = nullptr;
  const Options options(PQconninfoParse(url.reveal().c_str(), &reason), PQconninfoFree);
  const bool had_reason = reason != nullptr;
  PQfreemem(reason);  // not shown: it quotes parts of the URL, which holds the password
  if (!options) {
    throw Error(Code::Config, fmt::format("the database URL cannot be read{}", had_reason ? " by libpq" : ""),
                "write it as postgresql://user:password@host:5432/name, special characters percent-encoded");
  }
  std::map<std::string, std::string> result;
  for (auto* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) result[option->keyword] = option->val;
  }
  return result;
}
}  // namespace

std::map<std::string, std::string> parseUrl(const Secret& url) {
  auto result = named(url);
  std::erase_if(result, [](const auto& one) { return one.second.empty(); });
  addDefaults(result);
  return result;
}

std::string describeUrl(const Secret& url) {
  const auto parts = parseUrl(url);
  const auto part = [&](const char* name, const char* fallback) {
    const auto found = parts.find(name);
    return found == parts.end() ? std::string(fallback) : found->second;
  };
  return fmt::format("{}@{}:{}/{}", part("user", "?"), part("host", "localhost"), part("port", "5432"),
                     part("dbname", part("user", "?").c_str()));
}

namespace {
std::string quoteValue(const std::string& value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}
}  // namespace

Secret connectionString(const std::map<std::string, std::string>& parts) {
  std::string text;
  for (const auto& [keyword, value] : parts) text += fmt::format("{}={} ", keyword, quoteValue(value));
  return Secret(std::move(text));
}

Secret withDatabase(const Secret& url, const std::string& database) {
  auto parts = named(url);
  parts["dbname"] = database;
  return connectionString(parts);
}

std::map<std::string, std::string> programEnvironment(const Secret& url) {
  static const std::map<std::string, std::string> kNames = {
      {"host", "PGHOST"},       {"hostaddr", "PGHOSTADDR"}, {"port", "PGPORT"},       {"user", "PGUSER"},
      {"dbname", "PGDATABASE"}, {"password", "PGPASSWORD"}, {"sslmode", "PGSSLMODE"}, {"sslrootcert", "PGSSLROOTCERT"},
      {"sslcert", "PGSSLCERT"}, {"sslkey", "PGSSLKEY"}};
  std::map<std::string, std::string> environment{{"PGCONNECT_TIMEOUT", "10"}, {"PGCLIENTENCODING", "UTF8"}};
  for (const auto& [keyword, value] : parseUrl(url)) {
    if (const auto found = kNames.find(keyword); found != kNames.end()) environment[found->second] = value;
  }
  return environment;
}

std::string quoteIdentifier(std::string_view name) {
  return fmt::format("\"{}\"", replaceAll(std::string(name), "\"", "\"\""));
}

Target maintenance(const Target& target) {
  std::optional<Error> first;
  for (const auto* database : {"postgres", "template1", ""}) {
    auto admin = target;
    if (*database != '\0') admin.url = withDatabase(target.url, database);
    try {
      PostgresConnection(admin).query("SELECT 1", {});
      return admin;
    } catch (const Error& error) {
      if (!first) first = error;
    }
  }
  throw *first;
}

bool isReadOnly(const Error& error) {
  const auto* details = error.details().if_object();
  return details != nullptr && jsonTextOr(*details, "sqlstate", "") == kReadOnly;
}

void dropDatabase(Connection& admin, const std::string& name) {
  admin.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend' "
      "AND pid <> pg_backend_pid()",
      {name});
  admin.query(fmt::format("DROP DATABASE IF EXISTS {}", quoteIdentifier(name)), {});
}

PostgresConnection::PostgresConnection(const Target& target)
    : where_(describeUrl(target.url)), statement_timeout_(target.statement_timeout) {
  auto parts = named(target.url);
  parts["application_name"] = target.application_name;
  parts["client_encoding"] = "UTF8";
  parts["keepalives_idle"] = "30";

  const auto deadline = deadlineIn(target.connect_timeout);
  // As text: PQconnectStartParams takes what is empty from the environment.
  handle_ = PQconnectStart(connectionString(parts).reveal().c_str());
  auto state = PGRES_POLLING_WRITING;
  while (handle_ != nullptr && PQstatus(handle_) != CONNECTION_BAD && state != PGRES_POLLING_OK &&
         state != PGRES_POLLING_FAILED) {
    if (!waitFor(PQsocket(handle_), state == PGRES_POLLING_WRITING, deadline)) {
      PQfinish(handle_);
      handle_ = nullptr;
      throw Error(Code::Unreachable,
                  fmt::format("PostgreSQL {} did not answer within {}", where_, humanDuration(target.connect_timeout)),
                  "check host, port and firewall");
    }
    state = PQconnectPoll(handle_);
  }
  if (handle_ == nullptr || PQstatus(handle_) != CONNECTION_OK) {
    const auto reason = handle_ != nullptr ? firstLine(PQerrorMessage(handle_)) : std::string("out of memory");
    PQfinish(handle_);
    handle_ = nullptr;
    throw Error(Code::Unreachable, fmt::format("cannot connect to PostgreSQL {}: {}", where_, reason),
                "check that the server runs and that the URL is right");
  }
  PQsetNoticeProcessor(
      handle_, [](void*, const char*) {}, nullptr);
}

PostgresConnection::~PostgresConnection() { PQfinish(handle_); }

bool PostgresConnection::usable() const { return handle_ != nullptr && PQstatus(handle_) == CONNECTION_OK; }
int PostgresConnection::serverVersion() const { return PQserverVersion(handle_); }

bool PostgresConnection::throughPooler() {
  if (!pooler_) {
    Result result(PQexec(handle_, "SELECT pg_backend_pid()"));
    if (PQresultStatus(result.handle) != PGRES_TUPLES_OK) fail(result.handle);
    pooler_ = parseInteger(PQgetvalue(result.handle, 0, 0)) != PQbackendPID(handle_);
  }
  return *pooler_;
}

bool PostgresConnection::looksAlive() {
  pollfd entry{PQsocket(handle_), POLLIN, 0};
  if (::poll(&entry, 1, 0) > 0 && PQconsumeInput(handle_) != 1) return false;
  return usable();
}

void PostgresConnection::fail(pg_result* result) {
  const char* state_text = result != nullptr ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : nullptr;
  const std::string state = state_text != nullptr ? state_text : "";
  const char* primary = result != nullptr ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : nullptr;
  const auto message = primary != nullptr ? std::string(primary) : firstLine(PQerrorMessage(handle_));
  // Only the primary message: detail lines quote rows.
  throw Error(
      usable() ? codeOf(state.empty() ? "XX000" : state) : Code::Unreachable,
      fmt::format("PostgreSQL {}: {}{}", where_, message, state.empty() ? "" : fmt::format(" (SQLSTATE {})", state)),
      state == kReadOnly ? "it is a standby, or default_transaction_read_only is on: point DATABASE_URL at the primary"
                         : "")
      .with(json::object{{"sqlstate", state}});
}

void PostgresConnection::drop() {
  PQfinish(handle_);
  handle_ = nullptr;
}

PostgresConnection::Result PostgresConnection::nextResult(Deadline deadline) {
  bool cancelled = false;
  while (PQflush(handle_) == 1) {
    if (!waitFor(PQsocket(handle_), true, deadline)) break;
  }
  while (PQisBusy(handle_) == 1) {
    if (!waitFor(PQsocket(handle_), false, deadline)) {
      if (cancelled) {  // the server does not even answer a cancel: give the connection up
        drop();
        throw Error(Code::Unreachable, fmt::format("PostgreSQL {} stopped answering", where_));
      }
      cancelled = true;
      deadline = deadlineIn(std::chrono::seconds(2));
      char reason[256];
      if (PGcancel* cancel = PQgetCancel(handle_); cancel != nullptr) {
        PQcancel(cancel, reason, sizeof reason);
        PQfreeCancel(cancel);
      }
      continue;
    }
    if (PQconsumeInput(handle_) != 1) fail(nullptr);
  }
  return Result(PQgetResult(handle_));
}

PostgresConnection::Result PostgresConnection::wait(Deadline deadline) {
  Result last(nullptr);
  while (true) {
    Result next = nextResult(deadline);
    if (next.handle == nullptr) return last;
    const auto status = PQresultStatus(next.handle);
    const bool failed_before = last.handle != nullptr && PQresultStatus(last.handle) == PGRES_FATAL_ERROR;
    if (!failed_before) last = std::move(next);
    if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
      throw Error(Code::Internal, "COPY is not taken here");
    }
  }
}

namespace {
// Values in libpq's text format. Must outlive the send.
class Parameters {
 public:
  explicit Parameters(const Values& values) : texts_(values.size()), pointers_(values.size(), nullptr) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (const auto* integer = std::get_if<std::int64_t>(&values[i]))
        texts_[i] = fmt::format("{}", *integer);
      else if (const auto* number = std::get_if<double>(&values[i]))
        texts_[i] = fmt::format("{}", *number);
      else if (const auto* text = std::get_if<std::string>(&values[i]))
        texts_[i] = *text;
      else
        continue;
      pointers_[i] = texts_[i].c_str();
    }
  }
  int count() const { return static_cast<int>(pointers_.size()); }
  const char* const* pointers() const { return pointers_.data(); }

 private:
  std::vector<std::string> texts_;
  std::vector<const char*> pointers_;
};
}  // namespace

const std::string& PostgresConnection::prepared(const std::string& sql, std::size_t parameters) {
  auto found = prepared_.find(sql);
  if (found == prepared_.end()) {
    auto statement = fmt::format("a{}", prepared_.size());
    if (PQsendPrepare(handle_, statement.c_str(), sql.c_str(), static_cast<int>(parameters), nullptr) != 1)
      fail(nullptr);
    const auto result = wait(statementDeadline());
    if (PQresultStatus(result.handle) != PGRES_COMMAND_OK) fail(result.handle);
    found = prepared_.emplace(sql, std::move(statement)).first;
  }
  return found->second;
}

void PostgresConnection::runAsOne(const std::vector<Statement>& statements) {
  if (handle_ == nullptr)
    throw Error(Code::Unreachable, fmt::format("the connection to PostgreSQL {} is lost", where_));
  std::vector<std::string> names;
  names.reserve(statements.size());
  for (const auto& statement : statements)
    names.push_back(prepared(std::string(statement.sql), statement.values.size()));
  Result failed(nullptr);
  try {
    // What is sent before one Sync is one transaction (PostgreSQL protocol, pipelining).
    if (PQenterPipelineMode(handle_) != 1) fail(nullptr);
    for (std::size_t i = 0; i < statements.size(); ++i) {
      const Parameters parameters(statements[i].values);
      if (PQsendQueryPrepared(handle_, names[i].c_str(), parameters.count(), parameters.pointers(), nullptr, nullptr,
                              0) != 1)
        fail(nullptr);
    }
    if (PQpipelineSync(handle_) != 1) fail(nullptr);
    const auto deadline = statementDeadline();
    while (true) {
      Result next = nextResult(deadline);
      if (next.handle == nullptr) {
        if (!usable()) fail(nullptr);
        continue;  // between two statements
      }
      const auto status = PQresultStatus(next.handle);
      if (status == PGRES_PIPELINE_SYNC) break;
      if (status == PGRES_FATAL_ERROR && failed.handle == nullptr) failed = std::move(next);
    }
    if (PQexitPipelineMode(handle_) != 1) fail(nullptr);
  } catch (...) {
    drop();  // what is still under way cannot be told from the next answer
    throw;
  }
  if (failed.handle != nullptr) fail(failed.handle);
}

Rows PostgresConnection::query(std::string_view sql, const Values& values) {
  if (handle_ == nullptr)
    throw Error(Code::Unreachable, fmt::format("the connection to PostgreSQL {} is lost", where_));
  const Parameters parameters(values);
  const std::string text(sql);
  if (values.empty()) {
    // The simple protocol: the extended one leaves a portal open, whose snapshot an idle transaction would hold and so
    // stall CREATE INDEX CONCURRENTLY and VACUUM.
    if (PQsendQuery(handle_, text.c_str()) != 1) fail(nullptr);
  } else if (throughPooler()) {
    if (PQsendQueryParams(handle_, text.c_str(), parameters.count(), nullptr, parameters.pointers(), nullptr, nullptr,
                          0) != 1)
      fail(nullptr);
  } else {
    if (PQsendQueryPrepared(handle_, prepared(text, values.size()).c_str(), parameters.count(), parameters.pointers(),
                            nullptr, nullptr, 0) != 1)
      fail(nullptr);
  }
  const auto result = wait(statementDeadline());
  const auto status = PQresultStatus(result.handle);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) fail(result.handle);
  Rows rows(static_cast<std::size_t>(PQntuples(result.handle)));
  const int columns = PQnfields(result.handle);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const int row = static_cast<int>(i);
    rows[i].reserve(static_cast<std::size_t>(columns));
    for (int column = 0; column < columns; ++column) {
      if (PQgetisnull(result.handle, row, column) == 1)
        rows[i].add(std::nullopt);
      else
        rows[i].add(std::string(PQgetvalue(result.handle, row, column),
                                static_cast<std::size_t>(PQgetlength(result.handle, row, column))));
    }
  }
  changed_ = parseInteger(PQcmdTuples(result.handle)).value_or(0);
  return rows;
}

std::int64_t PostgresConnection::execute(std::string_view sql, const Values& values) {
  query(sql, values);
  return changed_;
}

void PostgresConnection::executeScript(std::string_view sql, bool unbounded) {
  if (handle_ == nullptr)
    throw Error(Code::Unreachable, fmt::format("the connection to PostgreSQL {} is lost", where_));
  const std::string text(sql);
  if (PQsendQuery(handle_, text.c_str()) != 1) fail(nullptr);
  const auto result = wait(unbounded ? deadlineIn(std::chrono::hours(24)) : statementDeadline());
  const auto status = PQresultStatus(result.handle);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY) fail(result.handle);
}

}  // namespace aragora::database::postgres
