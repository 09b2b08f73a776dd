// Refused credentials go to the audit log, from a thread of its own: an entry a network and not more often than every
// few seconds, however much is guessed. The table is bounded; what does not fit is counted together. What could not be
// written is tried again, and at the end said in the log. note() is thread-safe and never waits for the database.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "common/audit/audit.h"
#include "common/base/interrupt.h"
#include "daemon/web/rate_limiter.h"
#include "daemon/web/request.h"

namespace aragora::web {

class RefusalLog {
 public:
  static constexpr std::size_t kMostNetworks = 256;

  RefusalLog(database::Database& database, const crypto::Keyring& keyring);
  ~RefusalLog() { stop(); }
  void start();
  // Within a quarter of a second.
  void stop();
  void note(const Request& request, std::string_view route);
  void note(const std::string& address, const std::string& request_id, std::string_view route);
  std::uint64_t noted() const { return noted_; }  // since the start

 private:
  struct Refused {
    std::string address;  // of the last; empty for all those of networks that found no room
    std::string request_id;
    std::string route;
    std::int64_t count = 0;
    Micros first = 0;
    Micros last = 0;
  };
  using Table = std::unordered_map<LimitKey, Refused, LimitKeyHash>;

  void add(Refused refused);
  void run(const std::stop_token& stop);
  void write(const Table& refused);
  static audit::Entry entryOf(const Refused& refused);

  database::Database& database_;
  const crypto::Keyring& keyring_;
  std::atomic<std::uint64_t> noted_{0};
  std::mutex mutex_;
  std::condition_variable_any changed_;
  Table refused_;
  bool done_ = false;
  interrupt::Switch at_once_;  // minded by the thread
  std::jthread thread_;
};

}  // namespace aragora::web
