#include "common/database/postgres/postgres_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"
#include "common/database/database.h"
#include "common/database/postgres/connecting.h"

namespace aragora::database::postgres {

namespace {
constexpr std::string_view kReadOnly = "25006";
constexpr auto kCancelTime = std::chrono::seconds(2);
constexpr std::size_t kMostWaiting = 1000;  // statements

Code codeOf(std::string_view state) {
  if (state == "23505" || state == "23503" || state == "23514" || state == "23502") return Code::Conflict;
  if (state.empty() || startsWith(state, "08") || startsWith(state, "57P") || state == "53300")
    return Code::Unreachable;
  if (state == "40001" || state == "40P01" || state == "55P03" || state == "55006") return Code::Busy;
  if (state == "42501" || startsWith(state, "28")) return Code::Permission;
  if (state == "57014") return Code::Overloaded;
  if (state == "53100") return Code::StorageFull;
  if (state == kReadOnly) return Code::Config;
  return Code::Internal;
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

bool isReadOnly(const Error& error) {
  const auto* details = error.details().if_object();
  return details != nullptr && jsonTextOr(*details, "sqlstate", "") == kReadOnly;
}

PostgresConnection::PostgresConnection(const Target& target, const Company& company)
    : company_(company), where_(describeUrl(target.url)), statement_timeout_(target.statement_timeout) {
  try {
    open(target);
  } catch (...) {
    drop();
    throw;
  }
}

void PostgresConnection::open(const Target& target) {
  Wish wish{.company = company_};
  while (true) {
    auto connected = connectToOne(target, where_, wish);
    handle_ = connected.handle;
    server_ = std::move(connected.server);
    setUp();
    if (company_.outlook == nullptr) return;
    if (!leftBehind()) return company_.outlook->setServer(connected.name);
    drop();
    wish.left_behind.insert(connected.name);
  }
}

// A primary that was away while a standby took over, and is back: it takes what is written to it, and nobody ever sees
// that again. A server that tells nothing of its history is taken as it is.
bool PostgresConnection::leftBehind() {
  try {
    const auto rows = query(
        "SELECT (SELECT system_identifier FROM pg_control_system()), CASE WHEN pg_is_in_recovery() THEN '' ELSE "
        "substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END",
        {});
    const auto& timeline = rows.at(0).text(1);
    return !timeline.empty() && !company_.outlook->minds(rows.at(0).text(0), std::stoul(timeline, nullptr, 16));
  } catch (const Error&) {
    if (!usable()) throw;
    return false;
  }
}

void PostgresConnection::setUp() {
  PQsetnonblocking(handle_, 1);  // what is sent waits in nextResult(), with a deadline
  PQsetNoticeReceiver(
      handle_,
      [](void* self, const PGresult* notice) {
        const char* severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
        const char* message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY);
        if (severity != nullptr && message != nullptr && std::string_view(severity) == "WARNING")
          static_cast<PostgresConnection*>(self)->warning_ = message;
      },
      this);
}

PostgresConnection::~PostgresConnection() { PQfinish(handle_); }

bool PostgresConnection::usable() const { return handle_ != nullptr && PQstatus(handle_) == CONNECTION_OK; }
int PostgresConnection::serverVersion() const { return PQserverVersion(handle_); }

bool PostgresConnection::throughPooler() {
  if (!pooler_) {
    if (PQsendQuery(handle_, "SELECT pg_backend_pid()") != 1) fail(nullptr);
    const auto result = wait(statementDeadline());
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
  const std::string hint =
      state == kReadOnly ? "it is a standby, or default_transaction_read_only is on: point DATABASE_URL at the primary"
      : codeOf(state) == Code::StorageFull ? "free space on the database server's disk"
                                           : "";
  // Only the primary message: detail lines quote rows.
  throw Failure(Error(usable() ? codeOf(state.empty() ? "XX000" : state) : Code::Unreachable,
                      fmt::format("PostgreSQL {}: {}{}", where_, message,
                                  state.empty() ? "" : fmt::format(" (SQLSTATE {})", state)),
                      hint)
                    .with(json::object{{"sqlstate", state}}));
}

void PostgresConnection::drop() {
  PQfinish(handle_);
  handle_ = nullptr;
}

void PostgresConnection::giveUp(std::string_view what) {
  drop();
  throw Failure(Error(Code::Unreachable, fmt::format("PostgreSQL {} {}", where_, what)));
}

// What nobody waits for any more is not to go on there, and its answer not to be taken for the next one's.
bool PostgresConnection::awaits(short events, Deadline deadline) {
  try {
    return awaitServer(PQsocket(handle_), events, deadline, company_);
  } catch (...) {
    sendCancel(handle_);
    drop();
    throw;
  }
}

PostgresConnection::Result PostgresConnection::nextResult(Deadline deadline) {
  bool cancelled = false;
  while (PQflush(handle_) == 1) {
    // It may want to be read before it takes more.
    if (!awaits(POLLIN | POLLOUT, deadline)) giveUp("takes nothing any more");
    if (PQconsumeInput(handle_) != 1) fail(nullptr);
  }
  while (PQisBusy(handle_) == 1) {
    if (!awaits(POLLIN, deadline)) {
      // Not even to a cancel, or there is no time for one.
      if (cancelled || remaining(end_by_).count() == 0 || countsAsAway(company_)) giveUp("stopped answering");
      cancelled = cancelled_ = true;
      deadline = deadlineIn(kCancelTime);
      sendCancel(handle_);
      continue;
    }
    if (PQconsumeInput(handle_) != 1) fail(nullptr);
  }
  if (company_.outlook != nullptr) company_.outlook->heard();
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

void PostgresConnection::begin(std::string_view sql) {
  nothing_done_ = true;
  if (!throughPooler()) return waiting_.push_back({std::string(sql), {}});
  executeScript(sql);
  nothing_done_ = false;
}

void PostgresConnection::later(Statement statement) {
  const bool may_wait =
      handle_ != nullptr && !throughPooler() && (!waiting_.empty() || PQtransactionStatus(handle_) == PQTRANS_INTRANS);
  if (!may_wait || waiting_.size() >= kMostWaiting) {
    query(statement.sql, statement.values);
    return;
  }
  waiting_.push_back({std::string(statement.sql), std::move(statement.values)});
}

void PostgresConnection::commit() {
  const bool nothing_to_do = nothing_done_ && waiting_.size() == 1;  // but BEGIN
  nothing_done_ = false;
  if (nothing_to_do) return waiting_.clear();
  Result result(nullptr);
  warning_.clear();
  if (waiting_.empty()) {
    if (PQsendQuery(handle_, "COMMIT") != 1) fail(nullptr);
    result = wait(statementDeadline());
    if (PQresultStatus(result.handle) != PGRES_COMMAND_OK) fail(result.handle);
  } else {
    waiting_.push_back({"COMMIT", {}});
    result = sendWaiting(statementDeadline());
  }
  // Such as "canceling wait for synchronous replication": it is committed here, and may be lost with this server.
  if (!warning_.empty() && (cancelled_ || warning_.find("synchronous replication") != std::string::npos))
    giveUp(fmt::format("did not confirm that it committed: {}", warning_));
  // What a server answers to the COMMIT of a transaction in which something failed is no error.
  if (std::string_view(PQcmdStatus(result.handle)) != "COMMIT")
    throw Error(Code::Internal, fmt::format("PostgreSQL {} did not commit: a statement before had failed", where_));
}

void PostgresConnection::rollBack() {
  waiting_.clear();
  if (PQtransactionStatus(handle_) != PQTRANS_IDLE) executeScript("ROLLBACK");
}

PostgresConnection::Result PostgresConnection::sendWaiting(Deadline deadline) {
  const auto statements = std::exchange(waiting_, {});
  std::vector<std::string> names;
  names.reserve(statements.size());
  for (const auto& statement : statements) names.push_back(prepared(statement.sql, statement.values.size()));
  Result last(nullptr);
  try {
    if (PQenterPipelineMode(handle_) != 1) fail(nullptr);
    for (std::size_t i = 0; i < statements.size(); ++i) {
      const Parameters parameters(statements[i].values);
      if (PQsendQueryPrepared(handle_, names[i].c_str(), parameters.count(), parameters.pointers(), nullptr, nullptr,
                              0) != 1)
        fail(nullptr);
    }
    if (PQpipelineSync(handle_) != 1) fail(nullptr);
    last = receivePipeline(deadline);
    if (PQexitPipelineMode(handle_) != 1) fail(nullptr);
  } catch (...) {
    drop();  // what is still under way cannot be told from the next answer
    throw;
  }
  if (PQresultStatus(last.handle) == PGRES_FATAL_ERROR) fail(last.handle);
  nothing_done_ = false;
  return last;
}

// The first failure, what follows it was not done; else the last result.
PostgresConnection::Result PostgresConnection::receivePipeline(Deadline deadline) {
  Result last(nullptr);
  while (true) {
    Result next = nextResult(deadline);
    if (next.handle == nullptr) {
      if (!usable()) fail(nullptr);
      continue;  // between two statements
    }
    if (PQresultStatus(next.handle) == PGRES_PIPELINE_SYNC) return last;
    if (last.handle == nullptr || PQresultStatus(last.handle) != PGRES_FATAL_ERROR) last = std::move(next);
  }
}

Rows PostgresConnection::query(std::string_view sql, const Values& values) {
  return queryUntil(statementDeadline(), sql, values);
}

Rows PostgresConnection::queryUntil(Deadline deadline, std::string_view sql, const Values& values) {
  if (handle_ == nullptr)
    throw Failure(Error(Code::Unreachable, fmt::format("the connection to PostgreSQL {} is lost", where_)));
  const std::string text(sql);
  if (!waiting_.empty()) {
    waiting_.push_back({text, values});
    return rowsOf(sendWaiting(deadline));
  }
  const Parameters parameters(values);
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
  const auto result = wait(deadline);
  const auto status = PQresultStatus(result.handle);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) fail(result.handle);
  return rowsOf(result);
}

Rows PostgresConnection::rowsOf(const Result& result) {
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
    throw Failure(Error(Code::Unreachable, fmt::format("the connection to PostgreSQL {} is lost", where_)));
  if (!waiting_.empty()) sendWaiting(statementDeadline());
  const std::string text(sql);
  if (PQsendQuery(handle_, text.c_str()) != 1) fail(nullptr);
  const auto result = wait(unbounded ? deadlineIn(std::chrono::hours(24)) : statementDeadline());
  const auto status = PQresultStatus(result.handle);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY) fail(result.handle);
}

}  // namespace aragora::database::postgres
