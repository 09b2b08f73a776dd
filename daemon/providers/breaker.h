// The circuit breaker of one provider's endpoint, shared by all debates: its rules (breaker_machine) under a lock, with
// a clock, and what it saw in numbers. Thread-safe; nothing waits but a probe that asks whether others do.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "common/base/clock.h"
#include "daemon/providers/breaker_machine.h"

namespace aragora::providers {

// What others are told: an alert, the other instances.
enum class BreakerEvent { Opened, Well, Reset, ForcedOpen, ForcedClosed };
std::string_view name(BreakerEvent event);
std::optional<BreakerEvent> parseBreakerEvent(std::string_view name);

struct BreakerNews {
  std::string provider;
  BreakerEvent event = BreakerEvent::Opened;
  Span left{0};  // of Opened: until it probes
};

struct BreakerState {
  std::string provider;
  Circuit circuit = Circuit::Closed;
  Forced forced = Forced::None;
  std::string blocked{};        // why the key is not used for now; empty: it is
  bool wholly_blocked = false;  // for every model
  Span open_for{0};
  Span throttled_for{0};
  Span in_state{0};
  std::size_t recent_failures = 0;  // in the window
  BreakerMachine::Transitions transitions{};
  std::array<std::uint64_t, 5> rejected{};              // by Refusal
  std::array<std::uint64_t, kFailureKinds> failures{};  // by FailureKind
  std::uint64_t answers = 0;
  std::array<std::uint64_t, 3> probes{};  // answered, failed, neither
  std::optional<Span> last_latency{};     // of the last answer
  std::string last_failure{};
  Micros last_failure_at = 0;  // 0: never
  // Calls are let through, or will be with the next one.
  bool usable() const { return circuit != Circuit::Open && !wholly_blocked; }
};

// Which of the instances probes a provider, where they share something. A hint: whoever cannot tell soon says that
// nobody does, and each probes for itself. Thread-safe.
class ProbeLeases {
 public:
  virtual ~ProbeLeases() = default;
  struct Held {
    std::string by;
    Span left{0};
  };
  // Takes the lease of a provider under a name that no other probe has; or who holds it. Waits for a moment at most.
  virtual std::optional<Held> take(const std::string& provider, const std::string& probe, Span lease) = 0;
  // When it is that probe's. Does not wait.
  virtual void giveBack(const std::string& provider, const std::string& probe) = 0;
};

struct BreakerOptions {
  std::string provider;
  BreakerRules rules{};
  std::function<Moment()> clock = nullptr;                    // none: the steady one
  std::function<void(const BreakerNews&)> on_news = nullptr;  // called without a lock, in the thread that caused it
  ProbeLeases* leases = nullptr;                              // none: this instance is alone
};

// For BreakerRules::jitter. Any thread.
double anyJitter();

class Breaker {
 public:
  explicit Breaker(BreakerOptions options);

  // The right to make one call. One that is given up without a result was stopped: no way out can keep a probe's place.
  class Permit {
   public:
    Permit(Permit&& other) noexcept;
    Permit& operator=(Permit&&) = delete;
    ~Permit();
    void settle(CallResult result);

   private:
    friend class Breaker;
    Permit(Breaker& breaker, Admission admission) : breaker_(&breaker), admission_(admission), began_(breaker.now()) {}
    Breaker* breaker_;
    Admission admission_;
    Moment began_;
    std::string lease_{};  // of a probe: the name under which it may hold one
  };

  std::variant<Permit, Rejection> admit(Span lease, const std::string& model = {});
  BreakerState state();
  // Nobody is let through now, no probe either: open, or held open.
  bool closedToAll();

  // By an administrator; the others are told.
  void reset();
  void force(Forced forced);
  void credentialChanged();
  // By another instance: nobody is told again.
  void hear(BreakerEvent event, Span left);

 private:
  Moment now() const { return options_.clock ? options_.clock() : std::chrono::steady_clock::now(); }
  void settle(const Admission& admission, Moment began, CallResult result);
  // Whether another instance probes.
  std::optional<Rejection> standBack(Permit& probe, Span lease, const std::string& model);
  // A probe whose lease is over by then has reopened it: nobody else says so.
  void look(Moment at);
  void opened(Span left, const std::string& reason) const;
  void tell(BreakerEvent event, Span left = Span{0}) const;

  BreakerOptions options_;
  const std::string prober_;  // what the names of its probes begin with
  std::mutex mutex_;
  BreakerMachine machine_;
  BreakerState seen_;  // its numbers
};

}  // namespace aragora::providers
