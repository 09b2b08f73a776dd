// Follows debates that are watched here and run elsewhere: reads from the database what was written of them and hands
// it to the hub. Hints say when and where to look; where none come it looks by itself every half a second, and every
// two seconds in case one was lost. It has a thread of its own, and reads what is asked for several times once. Who
// watches sorts out doubles and gaps by the numbers of events. Thread-safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "common/base/interrupt.h"
#include "common/store/debates.h"

namespace aragora::cluster {

struct FollowerServices {
  store::Debates& debates;
  std::function<std::vector<std::string>()> watched;  // ids of debates
  std::function<void(const store::Event&)> publish;   // to those who watch
  std::function<void()> look_for_cancellations;       // of what runs here; may wait for the database
};

class Follower {
 public:
  explicit Follower(FollowerServices services) : services_(std::move(services)) {}
  ~Follower() { stop(); }

  void start();
  void stop();
  // This instance published it itself.
  void wrote(const std::string& debate_id, std::int64_t seq);
  // Another one has. False hints cost one read.
  void told(const std::string& debate_id, std::int64_t seq);
  void cancellationAsked();
  // Whether hints come at all.
  void setListening(bool listening);

 private:
  using Clock = std::chrono::steady_clock;
  struct Round {
    std::map<std::string, std::int64_t> told;
    bool cancellations = false;
    bool all = false;
  };

  void run(const std::stop_token& stop);
  Round next(const std::stop_token& stop);
  void look(const Round& round);
  void lookAtAll();
  void follow(const std::string& debate_id, std::int64_t seq);

  FollowerServices services_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  Round waiting_;
  bool listening_ = false;
  Clock::time_point next_round_{};
  std::map<std::string, std::int64_t> published_;  // the last of each debate that is watched
  bool failing_ = false;                           // told
  bool missed_ = false;                            // hints
  interrupt::Switch at_once_;
  std::jthread thread_;
};

}  // namespace aragora::cluster
