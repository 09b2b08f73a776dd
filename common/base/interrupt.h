// SIGINT, SIGTERM, SIGHUP and SIGQUIT while a command has something to tidy up: what waits ends with
// Error(Interrupted), the command unwinds, its destructors remove scratch and stop what they started, and main says
// what was removed. Whatever has not unwound after a few seconds, or at the next signal, is removed by force. Without
// anything to tidy up a signal does what it always does. The daemon and the receivers take the signals themselves: a
// thread of theirs minds a Switch instead, in everything that minds a signal. Any thread.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "common/base/clock.h"

namespace aragora::interrupt {

// Once, by main, before there are other threads. Signals that were ignored stay ignored (nohup).
void watch();
// The signal that came.
std::optional<int> signal();
// Throws Error(Interrupted) once one came, or the switch that this thread minds was turned; not while an exception
// unwinds, and not under a Shield.
void check();
// Whether check() would throw.
bool due();
// The one poll(2) for a descriptor: true when it is ready for one of `events`, false at the deadline. Throws as check()
// does, at once.
bool waitFor(int descriptor, short events, Deadline deadline);

// Ends the waits of the threads that mind it. Copies are the same switch. Thread-safe.
class Switch {
 public:
  Switch();
  // Once and for good.
  void turn() const;
  bool turned() const { return source_.stop_requested(); }
  // Until it is turned, at most for `span`; whether it was.
  bool waitFor(std::chrono::milliseconds span) const;
  // For what takes one.
  std::stop_token token() const { return source_.get_token(); }
  // Readable once it was turned.
  int descriptor() const { return *event_; }

 private:
  std::stop_source source_;
  std::shared_ptr<const int> event_;  // of all copies
};

// While it exists this thread minds the switch, and no other. Threads that it starts are told of it: minded().
class Minding {
 public:
  explicit Minding(std::optional<Switch> which);
  Minding(const Minding&) = delete;
  Minding& operator=(const Minding&) = delete;
  ~Minding();

 private:
  std::optional<Switch> before_;
};
std::optional<Switch> minded();
// Of the switch that this thread minds, for waits on condition variables; check() follows.
std::stop_token token();

// Tidying up that must go on although a signal came.
class Shield {
 public:
  Shield();
  Shield(const Shield&) = delete;
  Shield& operator=(const Shield&) = delete;
  ~Shield();
};

// Something that must not outlive this run. `by_force` runs in another thread, at most once, while this exists.
class Obligation {
 public:
  explicit Obligation(std::function<void()> by_force);
  Obligation(const Obligation&) = delete;
  Obligation& operator=(const Obligation&) = delete;
  ~Obligation();

 private:
  std::list<std::function<void()>*>::iterator place_;
  std::function<void()> by_force_;
};

// After a signal: names what was removed, and what is not known to be. summary() is "interrupted by SIGINT; removed …;
// may still be there: …".
void removed(const std::string& what);
void remains(const std::string& what);
std::string summary();

}  // namespace aragora::interrupt
