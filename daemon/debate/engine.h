// Runs debates: takes what is created or left over by a dead instance, at most `max_concurrent` at once and fair
// between owners, each in a thread of its own under a lease that is renewed while it runs. Nothing is kept in memory
// that the store does not have: a debate survives the process. What cannot be run is tried again after growing pauses,
// and then ends as failed; while leases cannot be had at all (database away, disk full) one debate tries for all.
// Thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "common/base/error.h"
#include "common/base/interrupt.h"
#include "daemon/debate/runner.h"

namespace aragora::debate {

struct EngineOptions {
  std::size_t max_concurrent = 100;
  // Of an instance that is killed, others take the debates over after at most lease + poll.
  std::chrono::milliseconds lease = std::chrono::seconds(9);
  std::chrono::milliseconds renew = std::chrono::milliseconds(2500);
  std::chrono::milliseconds poll = std::chrono::seconds(1);
  std::int64_t tries = 8;
  std::chrono::milliseconds first_pause = std::chrono::seconds(1);  // doubled each time
  std::chrono::milliseconds longest_pause = std::chrono::minutes(1);
  std::chrono::milliseconds patience = std::chrono::milliseconds(700);  // of stop(), with a database that is silent
};

class Engine {
 public:
  Engine(RunServices services, EngineOptions options);
  ~Engine() { stop(); }

  void start();
  // There is a new debate: look now rather than at the next poll.
  void wake();
  // Ends the debate as cancelled at its next step, when it runs here.
  void cancel(const std::string& debate_id);
  // Lets it rest at its next step, when it runs here.
  void pause(const std::string& debate_id);
  // The same, of those that somebody asked for at another instance, be it to end or to rest. Waits for the database;
  // throws what that throws.
  void lookForCancellations();
  std::size_t active() const;
  bool runs(const std::string& debate_id) const;
  std::size_t mostActive() const { return options_.max_concurrent; }
  // How long the scheduler, or who renews leases, has not come round: in trouble a few seconds, with a database that is
  // silent as long as its deadlines.
  std::chrono::milliseconds silence() const;
  std::chrono::milliseconds renewerSilence() const;  // of the latter alone
  // Hands running debates back, so that the next start or another instance goes on at once, and ends the threads. A
  // database that does not answer is not waited for: the leases run out by themselves then.
  void stop();

 private:
  struct Running {
    Control control;
    std::optional<store::Lease> lease;
    std::jthread thread;
    bool done = false;
  };
  using Lock = std::unique_lock<std::mutex>;
  using Clock = std::chrono::steady_clock;

  void schedule(const std::stop_token& stop);
  void renew(const std::stop_token& stop);
  bool refill(std::size_t room);
  void bringUpToDate();
  bool launchNext(const std::stop_token& stop);
  bool launch(const std::string& id);
  void runOne(const std::string& id, Running& running);
  void work(const store::Lease& lease, Control& control);
  void failed(const std::string& id, const Running& running, const std::exception& error);
  void countFailure(const store::Lease& lease, const std::string& reason);
  void troubled(Code state, std::string_view reason);
  void reap(Lock& lock);
  bool stopping() const;
  void releaseAll();
  void handBackAll();
  void closeDown();
  static std::chrono::milliseconds since(Clock::rep at);
  static void comeRound(std::atomic<Clock::rep>& at) { at = Clock::now().time_since_epoch().count(); }

  RunServices services_;
  EngineOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  bool stopping_ = false;
  bool closed_ = false;
  interrupt::Switch at_once_;    // minded by every thread of ours
  interrupt::Switch last_word_;  // by the last release of leases
  std::atomic<Clock::rep> came_round_{0};
  std::atomic<Clock::rep> renewed_{0};  // or had nothing to renew
  bool woken_ = false;
  std::map<std::string, std::unique_ptr<Running>> running_;
  // No lease or no thread can be had: how often in a row, and when it is tried again.
  int troubles_ = 0;
  Clock::time_point trouble_until_{};
  std::optional<Code> told_;  // what the log says of it, until a debate got through
  // Of the scheduler's thread only.
  std::vector<std::string> candidates_;  // the first one last
  Clock::time_point looked_{};
  bool up_to_date_ = false;
  std::jthread scheduler_;
  std::jthread renewer_;
};

}  // namespace aragora::debate
