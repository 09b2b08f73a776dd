// Runs debates: takes what is created or left over by a dead instance, at most `max_concurrent` at once, each in a
// thread of its own under a lease that is renewed while it runs. Nothing is kept in memory that the store does not
// have: a debate survives the process. Thread-safe.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "daemon/debate/run.h"

namespace aragora::debate {

class Engine {
 public:
  Engine(RunServices services, std::string instance, std::size_t max_concurrent);
  ~Engine() { stop(); }

  void start();
  // There is a new debate: look now rather than at the next poll.
  void wake();
  // Ends the debate as cancelled at its next step, when it runs here.
  void cancel(const std::string& debate_id);
  std::size_t active() const;
  // Hands running debates back (their leases are released) and ends the threads.
  void stop();

 private:
  struct Running {
    RunControl control;
    std::optional<store::Lease> lease;
    std::thread thread;
    bool done = false;
  };
  void schedule();
  void renew();
  void launch(const std::string& id);
  void runOne(const std::string& id, Running& running);
  void reap(std::unique_lock<std::mutex>& lock);

  RunServices services_;
  std::string instance_;
  std::size_t max_concurrent_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool woken_ = false;
  std::map<std::string, std::unique_ptr<Running>> running_;
  std::chrono::steady_clock::time_point next_cleaning_{};  // scheduler thread only
  std::thread scheduler_;
  std::thread renewer_;
};

}  // namespace aragora::debate
