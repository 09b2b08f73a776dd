// Answers as they are made, for clients of other instances. Whoever has such a client asks for a debate's parts by a
// hint (Listen), again and again while somebody listens; whoever runs the debate sends them sealed (speech.h), through
// Redis, at once and then every 25 ms. It has a thread of its own, which asks and sends; nobody waits for it or for
// Redis. What finds no room here or there is lost and counted: the message that is stored when the agent has finished
// has it all. Without a Redis it does nothing. Thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "common/metrics/metrics.h"
#include "daemon/cluster/sisters.h"
#include "daemon/cluster/speech.h"
#include "daemon/cluster/speech_queue.h"

namespace aragora::cluster {

struct SharedSpeechServices {
  const crypto::Keyring& keyring;
  std::string instance;
  std::function<std::vector<std::string>()> listened;  // ids of debates that somebody here listens to
  std::function<bool(const std::string& debate_id)> runs_here;
  std::function<void(const wire::Delta&)> tell;  // those; in the thread of a Redis link
  metrics::Counter lost;
};

class SharedSpeech {
 public:
  // The sisters outlive it, and are stopped before it is gone.
  SharedSpeech(Sisters& sisters, SharedSpeechServices services);
  ~SharedSpeech() { stop(); }

  void start();
  void stop();

  // A part of a debate that runs here. Costs a look-up when nobody elsewhere listens.
  void speak(const wire::Delta& delta);
  // Another instance listens. Remembered for a while whether the debate runs here or not: it may begin to at any time,
  // and then what is said first is heard, too.
  void asked(const std::string& debate_id, const std::string& instance);

  // Somebody here begins to listen.
  void listen(const std::string& debate_id);
  // What others were told may not have reached them.
  void askAgain();
  // What came for us.
  void heard(const std::string& line);

 private:
  using Clock = std::chrono::steady_clock;
  struct Round {
    std::set<std::string> fresh;
    bool all = false;  // it is time to ask for all that is listened to
    Unsent::Said said;
    std::map<std::string, std::vector<std::string>> ears;  // of what is said
  };

  void run(const std::stop_token& stop);
  Round next(const std::stop_token& stop);
  bool due() const;
  void ask(const Round& round);
  void send(Round& round);
  void publish(const Speech& speech);

  Sisters& sisters_;
  SharedSpeechServices services_;
  std::shared_ptr<std::atomic<std::size_t>> under_way_;  // bytes; shared with answers that may come late
  std::mutex mutex_;
  std::condition_variable_any changed_;
  Ears ears_;
  Unsent unsent_;
  bool at_once_ = false;  // a message follows what is unsent
  Clock::time_point next_batch_{};
  std::set<std::string> fresh_;  // to be asked for
  Clock::time_point next_asking_{};
  // What we asked for, with the last number that each instance said.
  std::map<std::string, std::map<std::string, std::int64_t>> asked_for_;
  std::int64_t number_;  // the last of ours; the thread's
  std::jthread thread_;
};

}  // namespace aragora::cluster
