#include "common/database/postgres/replication_connection.h"

#include <libpq-fe.h>
#include <poll.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/database/postgres/connecting.h"
#include "common/database/postgres/postgres_connection.h"

namespace aragora::database::postgres {

namespace {
constexpr std::int64_t kConnectSeconds = 5;

void appendBigEndian(std::string& out, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xffU);
}
}  // namespace

ReplicationConnection::ReplicationConnection(const Target& target, const std::string& settings)
    : where_(describeUrl(target.url)) {
  auto parts = parseUrl(target.url);
  parts["replication"] = "true";
  parts["application_name"] = "aragora_wal";
  noticeSilence(parts);
  // libpq keeps it for each of several hosts, when it connects without returning as here.
  const auto wanted = parts.count("connect_timeout") > 0 ? parseInteger(parts["connect_timeout"]).value_or(0) : 0;
  if (wanted < 1 || wanted > kConnectSeconds) parts["connect_timeout"] = fmt::format("{}", kConnectSeconds);
  if (!settings.empty()) parts["options"] += " " + settings;
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : parts) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  handle_ = PQconnectdbParams(keywords.data(), values.data(), 0);
  if (PQstatus(handle_) == CONNECTION_OK) return;
  const auto reason = firstLine(PQerrorMessage(handle_));
  PQfinish(handle_);
  const bool refused = reason.find("pg_hba.conf") != std::string::npos || reason.find("role") != std::string::npos;
  throw Error(refused ? Code::Permission : Code::Unreachable,
              fmt::format("cannot stream from PostgreSQL {}: {}", where_, reason),
              refused
                  ? "ALTER ROLE … REPLICATION, and a replication line for it in pg_hba.conf; without that right use "
                    "archive_command = 'aragora backup wal-push %p'"
                  : "check that the server runs");
}

ReplicationConnection::~ReplicationConnection() {
  PQclear(ended_);
  PQfinish(handle_);
}

void ReplicationConnection::fail() {
  throw Error(Code::Unreachable,
              fmt::format("streaming from PostgreSQL {}: {}", where_, firstLine(PQerrorMessage(handle_))));
}

bool ReplicationConnection::alive() { return PQconsumeInput(handle_) == 1 && PQstatus(handle_) == CONNECTION_OK; }

std::vector<std::string> ReplicationConnection::row(const std::string& command) {
  PGresult* result = PQexec(handle_, command.c_str());
  const auto status = PQresultStatus(result);
  std::vector<std::string> cells;
  if (status == PGRES_TUPLES_OK && PQntuples(result) > 0) {
    for (int i = 0; i < PQnfields(result); ++i)
      cells.emplace_back(PQgetvalue(result, 0, i), static_cast<std::size_t>(PQgetlength(result, 0, i)));
  }
  PQclear(result);
  if (status != PGRES_TUPLES_OK || cells.empty()) fail();
  return cells;
}

bool ReplicationConnection::start(const std::string& slot, const Position& from) {
  const auto command = fmt::format("START_REPLICATION SLOT {} PHYSICAL {} TIMELINE {}", quoteIdentifier(slot),
                                   formatLsn(from.lsn), from.timeline);
  // Not PQexec, which answers the last result: a timeline that ends where we begin is the first of two (PostgreSQL 15,
  // walsender.c: StartReplication and its caller both complete the command).
  if (PQsendQuery(handle_, command.c_str()) == 0) fail();
  PGresult* result = PQgetResult(handle_);
  const auto status = PQresultStatus(result);
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const std::string code = state != nullptr ? state : "";
  if (status == PGRES_TUPLES_OK) {
    ended_ = result;
    return false;
  }
  PQclear(result);
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
  if (PQputCopyData(handle_, message.data(), static_cast<int>(message.size())) != 1 || PQflush(handle_) != 0) fail();
}

ReplicationConnection::Position ReplicationConnection::nextTimeline() {
  if (ended_ == nullptr) {
    PQputCopyEnd(handle_, nullptr);  // a server that shuts down has ended the copy already
    PQflush(handle_);
    ended_ = PQgetResult(handle_);
  }
  const bool told = PQresultStatus(ended_) == PGRES_TUPLES_OK && PQntuples(ended_) == 1 && PQnfields(ended_) == 2;
  Position next;
  if (told) {
    next.timeline = static_cast<std::uint32_t>(parseInteger(PQgetvalue(ended_, 0, 0)).value_or(0));
    next.lsn = parseLsn(PQgetvalue(ended_, 0, 1)).value_or(0);
  }
  PQclear(std::exchange(ended_, nullptr));
  if (!told) throw Error(Code::Unreachable, fmt::format("PostgreSQL {} ended the stream", where_));
  while (PGresult* rest = PQgetResult(handle_)) PQclear(rest);
  return next;
}

}  // namespace aragora::database::postgres
