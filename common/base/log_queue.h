// Private to the log: lines on their way out, and the thread that writes them. Bounded; put() never waits. Lines are
// written in their order: to stderr as many as fit into one write of a pipe, to the journal a datagram each.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace aragora::log {

enum class Way { Stderr, Journal };

class Queue {
 public:
  Queue();
  ~Queue();
  // False when there is no room. What may be left out leaves some for what may not.
  bool put(std::string line, Way way, bool may_be_left_out);

 private:
  struct Waiting {
    std::string text;
    Way way;
  };
  void run(const std::stop_token& stop);
  void writeAll(const std::vector<Waiting>& lines);
  bool writable(int descriptor) const;
  void toStderr(std::string_view text) const;
  bool toJournal(std::string_view text) const;

  std::mutex mutex_;
  std::condition_variable_any arrived_;
  std::vector<Waiting> lines_;
  std::size_t bytes_ = 0;
  bool at_once_ = false;                             // something waits that is not to wait for more
  std::atomic<std::int64_t> give_up_at_{INT64_MAX};  // of the steady clock: nobody reads, and we are to end
  int journal_;
  std::jthread thread_;
};

}  // namespace aragora::log
