// How far a long piece of work is. Whoever does it counts bytes or things where they are really read or written, which
// is one atomic addition; whoever shows it looks now and then (ProgressTeller), from a thread of its own. What nobody
// can know is left out: a total that is an estimate says so, and is dropped once it turns out to be too small.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace aragora {

struct Phase {
  std::string what;         // "reading the database"
  std::uint64_t total = 0;  // 0: not known
  bool about = false;       // the total is an estimate
  std::string noun = {};    // of what is counted, such as "table"; empty: bytes
  bool even = true;         // each takes about as long, so that a rate and the time left mean something
};

class Progress {
 public:
  // Of a work in steps, such as "step 3 of 8, restore into scratch"; the phase before has ended.
  void within(std::string step);
  void begin(Phase phase);  // counts from 0
  void add(std::uint64_t more) noexcept { done_.fetch_add(more, std::memory_order_relaxed); }
  void reach(std::uint64_t done) noexcept { done_.store(done, std::memory_order_relaxed); }

  struct State {
    std::uint64_t number = 0;  // another one for every phase; 0: nothing has begun
    std::string step;
    Phase phase;
    std::uint64_t done = 0;
  };
  State state() const;

 private:
  void start();
  mutable std::mutex mutex_;
  State state_;
  std::atomic<std::uint64_t> done_{0};
};

// Most work is done with nobody looking: nullptr.
inline void within(Progress* progress, std::string step) {
  if (progress != nullptr) progress->within(std::move(step));
}
inline void begin(Progress* progress, Phase phase) {
  if (progress != nullptr) progress->begin(std::move(phase));
}
inline void add(Progress* progress, std::uint64_t more) {
  if (progress != nullptr) progress->add(more);
}

// Turns what it sees into a line: "backup: reading the database, 1.2 GB of 4.8 GB, 210.0 MB/s, 17 s left". One thread.
class ProgressView {
 public:
  using Time = std::chrono::steady_clock::time_point;
  ProgressView(std::string command, const Progress& progress) : command_(std::move(command)), progress_(progress) {}
  // As of `now`; nullopt while nothing has begun.
  std::optional<std::string> line(Time now);

 private:
  struct Sample {
    Time at;
    std::uint64_t done;
  };
  void look(const Progress::State& state, Time now);
  std::optional<double> rate() const;  // a second, over the last samples
  std::string numbers(const Progress::State& state, Time now) const;
  std::string command_;
  const Progress& progress_;
  std::uint64_t number_ = 0;
  Time since_;  // the phase was first seen
  std::deque<Sample> samples_;
};

// Shows a line every `interval` until it is destroyed.
class ProgressTeller {
 public:
  struct Options {
    std::function<void(std::string_view line)> show;
    std::chrono::milliseconds interval{200};
    // A terminal shows the beginning and, however short the work was, the end; a log only what takes longer.
    bool at_both_ends = false;
    std::function<ProgressView::Time()> now = [] { return std::chrono::steady_clock::now(); };
  };
  ProgressTeller(std::string command, const Progress& progress, Options options);
  ProgressTeller(const ProgressTeller&) = delete;
  ProgressTeller& operator=(const ProgressTeller&) = delete;
  ~ProgressTeller();

 private:
  void run();
  void show();
  ProgressView view_;
  Options options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace aragora
