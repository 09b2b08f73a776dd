#include "common/database/postgres/replication_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include "common/base/clock.h"
#include "common/base/interrupt.h"
#include "common/base/text.h"
#include "common/database/postgres/connecting.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::database::postgres {

namespace {
constexpr std::chrono::milliseconds kConnectTime{5000};
constexpr std::chrono::milliseconds kAnswerTime{30'000};

void appendBigEndian(std::string& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xffU);
}
}  // namespace

ReplicationConnection::ReplicationConnection(const Target& target, const std::string& settings)
    : where_(describeUrl(target.url)), answer_time_(std::min(target.statement_timeout, kAnswerTime)) {
  auto parts = namedIn(target.url);
  parts["replication"] = "true";
  if (!settings.empty()) parts["options"] += " " + settings;
  auto streaming = target;
  streaming.url = connectionString(parts);
  streaming.application_name = "aragora_wal";
  streaming.connect_timeout = kConnectTime;
  try {
    handle_ = connectToOne(streaming, where_, {.what = "stream from"}).handle;
  } catch (const Error& error) {
    const std::string said = error.what();
    const auto reason = said.substr(std::min(said.size(), said.find(where_) + where_.size()));
    if (reason.find("pg_hba.conf") == std::string::npos && reason.find("role") == std::string::npos) throw;
    throw Error(Code::Permission, said,
                "ALTER ROLE … REPLICATION, and a replication line for it in pg_hba.conf; without that right use "
                "archive_command = 'aragora backup wal-push %p'");
  }
  PQsetnonblocking(handle_, 1);  // every wait is ours, with a deadline
}

ReplicationConnection::~ReplicationConnection() {
  PQclear(ended_);
  PQfinish(handle_);
}

void ReplicationConnection::fail() {
  throw Error(Code::Unreachable,
              fmt::format("streaming from PostgreSQL {}: {}", where_, firstLine(PQerrorMessage(handle_))));
}

void ReplicationConnection::wait(short events, const Patience& patience) {
  if (!interrupt::waitFor(PQsocket(handle_), events, patience.end)) tooLate(patience);
}

void ReplicationConnection::tooLate(const Patience& patience) const {
  throw Error(Code::Unreachable,
              fmt::format("streaming from PostgreSQL {}: no answer within {}", where_, humanDuration(patience.span)));
}

void ReplicationConnection::flush(const Patience& patience) {
  int left = 0;
  while ((left = PQflush(handle_)) == 1) wait(POLLOUT, patience);
  if (left != 0) fail();
}

// The next result of what was sent, nullptr when there is none. PQgetResult alone would wait for as long as a server
// that is stopped, or a network that drops everything, lets it.
pg_result* ReplicationConnection::result() {
  const Patience patience{answer_time_};
  flush(patience);
  while (PQisBusy(handle_) == 1) {
    wait(POLLIN, patience);
    if (PQconsumeInput(handle_) != 1) fail();
  }
  return PQgetResult(handle_);
}

bool ReplicationConnection::alive() { return PQconsumeInput(handle_) == 1 && PQstatus(handle_) == CONNECTION_OK; }

std::vector<std::string> ReplicationConnection::row(const std::string& command) {
  if (PQsendQuery(handle_, command.c_str()) == 0) fail();
  PGresult* answer = result();
  const auto status = PQresultStatus(answer);
  std::vector<std::string> cells;
  if (status == PGRES_TUPLES_OK && PQntuples(answer) > 0) {
    for (int i = 0; i < PQnfields(answer); ++i)
      cells.emplace_back(PQgetvalue(answer, 0, i), static_cast<std::size_t>(PQgetlength(answer, 0, i)));
  }
  PQclear(answer);
  while (PGresult* rest = result()) PQclear(rest);
  if (status != PGRES_TUPLES_OK || cells.empty()) fail();
  return cells;
}

bool ReplicationConnection::start(const std::string& slot, const Position& from) {
  const auto command = fmt::format("START_REPLICATION SLOT {} PHYSICAL {} TIMELINE {}", quoteIdentifier(slot),
                                   formatLsn(from.lsn), from.timeline);
  // The first result, not the last: a timeline that ends where we begin is the first of two (PostgreSQL 15,
  // walsender.c: StartReplication and its caller both complete the command).
  if (PQsendQuery(handle_, command.c_str()) == 0) fail();
  PGresult* answer = result();
  const auto status = PQresultStatus(answer);
  const char* state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);
  const std::string code = state != nullptr ? state : "";
  if (status == PGRES_TUPLES_OK) {
    ended_ = answer;
    return false;
  }
  PQclear(answer);
  if (status == PGRES_COPY_BOTH) return true;
  const auto reason = firstLine(PQerrorMessage(handle_));
  // undefined_file: the segment was removed; object_not_in_prerequisite_state: the slot was invalidated.
  if (code == "58P01" || (code == "55000" && reason.find("slot") != std::string::npos)) throw LogIsGone(reason);
  fail();
}

ReplicationConnection::Got ReplicationConnection::receive(std::string& message, std::chrono::milliseconds wait) {
  for (int attempt = 0;; ++attempt) {
    char* buffer = nullptr;
    const int size = PQgetCopyData(handle_, &buffer, 1);
    if (size > 0) {
      message.assign(buffer, static_cast<std::size_t>(size));
      PQfreemem(buffer);
      return Got::Message;
    }
    if (size == -1) return Got::EndOfTimeline;
    if (size == -2) fail();
    if (attempt > 0) return Got::Nothing;
    pollfd entry{PQsocket(handle_), POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(wait.count()));
    if (ready < 0 && errno != EINTR) throwSystemError(Code::Io, "poll", "the replication connection", errno);
    if (ready <= 0) return Got::Nothing;
    if (PQconsumeInput(handle_) != 1) fail();
  }
}

void ReplicationConnection::confirm(Lsn flushed, Answer answer) {
  std::string message = "r";
  appendBigEndian(message, flushed);  // written
  appendBigEndian(message, flushed);  // flushed
  appendBigEndian(message, 0);        // applied: never
  appendBigEndian(message, static_cast<std::uint64_t>(nowMicros() - kPostgresEpoch));
  message += answer == Answer::Wanted ? '\1' : '\0';
  if (PQputCopyData(handle_, message.data(), static_cast<int>(message.size())) != 1) fail();
  flush({answer_time_});
}

void ReplicationConnection::finish(std::chrono::milliseconds span) {
  const Patience patience{span};
  if (PQputCopyEnd(handle_, nullptr) != 1) fail();
  flush(patience);
  std::string unread;
  while (receive(unread, remaining(patience.end)) != Got::EndOfTimeline) {
    if (remaining(patience.end).count() == 0) tooLate(patience);
  }
}

ReplicationConnection::Position ReplicationConnection::nextTimeline() {
  if (ended_ == nullptr) {
    PQputCopyEnd(handle_, nullptr);  // a server that shuts down has ended the copy already
    ended_ = result();
  }
  const bool told = PQresultStatus(ended_) == PGRES_TUPLES_OK && PQntuples(ended_) == 1 && PQnfields(ended_) == 2;
  Position next;
  if (told) {
    next.timeline = static_cast<std::uint32_t>(parseInteger(PQgetvalue(ended_, 0, 0)).value_or(0));
    next.lsn = parseLsn(PQgetvalue(ended_, 0, 1)).value_or(0);
  }
  PQclear(std::exchange(ended_, nullptr));
  if (!told) throw Error(Code::Unreachable, fmt::format("PostgreSQL {} ended the stream", where_));
  while (PGresult* rest = result()) PQclear(rest);
  return next;
}

}  // namespace aragora::database::postgres
