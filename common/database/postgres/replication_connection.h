// A connection that speaks the streaming replication protocol for physical copies (PostgreSQL documentation, chapter
// "Streaming Replication Protocol"). The user needs the REPLICATION privilege. One thread. Failures are
// Error(Unreachable), what trying again does not mend Error(Permission). Commands are answered within the target's
// statement timeout, at most within half a minute.
#pragma once

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/database/connection.h"
#include "common/database/postgres/lsn.h"

struct pg_conn;
struct pg_result;

namespace aragora::database::postgres {

constexpr std::int64_t kPostgresEpoch = 946'684'800'000'000LL;  // 2000-01-01 in microseconds since 1970

// The server no longer has the log that was asked for.
class LogIsGone : public Error {
 public:
  explicit LogIsGone(const std::string& message) : Error(Code::NoInput, message) {}
};

class ReplicationConnection {
 public:
  // `settings` are for the session, as in PGOPTIONS: "-c name=value".
  explicit ReplicationConnection(const Target& target, const std::string& settings = {});
  ReplicationConnection(const ReplicationConnection&) = delete;
  ReplicationConnection& operator=(const ReplicationConnection&) = delete;
  ~ReplicationConnection();

  struct Position {
    std::uint32_t timeline = 0;
    Lsn lsn = 0;
  };

  // Whether the server has not ended it. Only while nothing streams.
  bool alive();
  // The first row that a command such as IDENTIFY_SYSTEM answers.
  std::vector<std::string> row(const std::string& command);
  // Begins to stream. False when the timeline ended exactly there; nextTimeline() tells how it goes on. Throws
  // LogIsGone.
  bool start(const std::string& slot, const Position& from);

  enum class Got { Message, Nothing, EndOfTimeline };
  // The next message of the stream, waiting at most `wait` for it.
  Got receive(std::string& message, std::chrono::milliseconds wait);
  // Tells the server what is on disk here, and may ask for a word at once: a server that is there then gives one.
  enum class Answer { NotNeeded, Wanted };
  void confirm(Lsn flushed, Answer answer);
  // Ends the stream, so that the server has read what was confirmed: a connection that is closed while words of the
  // server are unread is reset, and what the server had not read of ours by then is lost (RFC 2525, section
  // 2.17). Error(Unreachable) when it has not ended its side within `span`, however much it sends.
  void finish(std::chrono::milliseconds span);
  // After EndOfTimeline or a start() that answered false.
  Position nextTimeline();

 private:
  [[noreturn]] void fail();
  struct Patience {
    std::chrono::milliseconds span;
    Deadline end = deadlineIn(span);
  };
  void wait(short events, const Patience& patience);
  [[noreturn]] void tooLate(const Patience& patience) const;
  void flush(const Patience& patience);
  pg_result* result();
  std::string where_;
  std::chrono::milliseconds answer_time_;
  pg_conn* handle_ = nullptr;
  pg_result* ended_ = nullptr;
};

}  // namespace aragora::database::postgres
