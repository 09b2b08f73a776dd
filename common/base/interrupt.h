// SIGINT, SIGTERM, SIGHUP and SIGQUIT while a command has something to tidy up: what waits ends with
// Error(Interrupted), the command unwinds, its destructors remove scratch and stop what they started, and main says
// what was removed. Whatever has not unwound after a few seconds, or at the next signal, is removed by force. Without
// anything to tidy up a signal does what it always does. The daemon and the receivers take the signals themselves. Any
// thread.
#pragma once

#include <functional>
#include <list>
#include <optional>
#include <string>

namespace aragora::interrupt {

// Once, by main, before there are other threads. Signals that were ignored stay ignored (nohup).
void watch();
// From a daemon that takes its signals itself and wants what still runs to end: as if SIGTERM had come, but nothing is
// removed by force.
void windDown();
// The signal that came.
std::optional<int> signal();
// Throws Error(Interrupted) once one came; not while an exception unwinds, and not under a Shield.
void check();
// Readable from then on, for poll(2); -1 when nobody watches.
int descriptor();
// Whether check() would throw.
bool due();

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

// After a signal: names what was removed. summary() is "interrupted by SIGINT; removed …".
void removed(const std::string& what);
std::string summary();

}  // namespace aragora::interrupt
