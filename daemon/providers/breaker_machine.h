// The rules of a circuit breaker: N failures within a window open it, after a cool-down one call may probe, and its
// result closes or reopens it. Pure: the time is an argument, nothing waits, nothing is locked. What a call came to
// counts only for the state that it was admitted in: every change of state is a new generation.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>

#include "daemon/providers/failure.h"

namespace aragora::providers {

using Moment = std::chrono::steady_clock::time_point;
using Span = std::chrono::milliseconds;

enum class Circuit { Closed, HalfOpen, Open };
std::string_view name(Circuit circuit);
enum class Forced { None, Open, Closed };
std::string_view name(Forced forced);
// Why a call is not let through.
enum class Refusal {
  Open,       // and cooling down
  Probing,    // another call is the probe, here or at another instance
  Throttled,  // the provider asked everybody to wait
  Blocked,    // it does not take the key, or its account has no money
  Forced,     // by an administrator
};
std::string_view name(Refusal refusal);
inline constexpr std::size_t kFailureKinds = 13;
std::string_view name(FailureKind kind);

struct BreakerRules {
  std::size_t failures = 3;  // that open it
  Span window{60'000};       // half-open: (t - window, t]. Also the first cool-down.
  Span longest_cooldown{600'000};
  Span longest_lease{125'000};    // of a probe of another instance, whatever it says
  int least_failure_percent = 0;  // of the calls in the window, besides; 0: however many succeeded
  // -1 to 1, of a tenth of the cool-down; none: exact.
  std::function<double()> jitter = nullptr;
};

struct Admission {
  std::uint64_t generation = 0;
  bool probe = false;
};
struct Rejection {
  Refusal why = Refusal::Open;
  Span left{0};                               // until it may be asked again, as far as that is known
  std::string reason{};                       // of what is blocked
  FailureKind cause = FailureKind::Rejected;  // of what is blocked: Credential or Money
};

// What an admitted call came to.
struct CallResult {
  std::optional<FailureKind> failure{};  // none: an answer
  std::optional<Span> asked_pause{};     // of Throttled
  std::string reason{};
  std::string model{};      // that was asked for
  bool model_only = false;  // a Credential failure that says nothing of other models
};

class BreakerMachine {
 public:
  BreakerMachine(BreakerRules rules, Moment now) : rules_(std::move(rules)), since_(now), closed_since_(now) {}

  // `lease` is how long a probe may take before its place is taken from it, as a failure.
  std::variant<Admission, Rejection> admit(Moment now, Span lease, const std::string& model = {});
  void settle(const Admission& admission, const CallResult& result, Moment now);
  // Another instance is said to probe, for `left` more under the name `prober`: the admitted probe gives its place back
  // and is rejected. nullopt: it is made all the same, since that one has had the time of its lease or this probe is of
  // an older generation.
  std::optional<Rejection> standBack(const Admission& admission, const std::string& prober, Span left, Moment now,
                                     const std::string& model = {});

  void reset(Moment now);
  void force(Forced forced, Moment now);  // None is reset()
  // Another key is used from now on: what blocked the old one is over, what still runs with it counts for nothing.
  void credentialChanged();
  // Another instance saw it fail, or well again. A failure is believed for the first cool-down at most, also where a
  // probe is due. "Well" lets one probe at once, and closes what is half-open: the probe was that one's. Neither takes
  // anything from a probe of ours.
  void toldOpened(Span left, Moment now);
  void toldWell(Moment now);
  // What is due by itself: a probe whose lease is over.
  void look(Moment now);

  Circuit circuit() const { return circuit_; }
  Forced forced() const { return forced_; }
  Moment since() const { return since_; }
  std::uint64_t generation() const { return generation_; }
  Span openFor(Moment now) const;
  Span throttledFor(Moment now) const;
  // Empty when nothing is blocked.
  std::string blocked() const;
  bool wholeEndpointBlocked() const { return latches_.count(std::string()) > 0; }
  std::size_t recentFailures(Moment now) const;
  using Transitions = std::array<std::array<std::uint64_t, 3>, 3>;  // from, to
  const Transitions& transitions() const { return transitions_; }

 private:
  struct Latch {
    std::string reason;
    FailureKind cause;
    Moment again_at;  // one call may find out whether it still holds
  };
  struct Second {
    std::int64_t at = 0;
    std::uint32_t calls = 0;
    std::uint32_t failures = 0;
  };
  const std::pair<const std::string, Latch>* latchOf(const std::string& model) const;
  void latch(const CallResult& result, Moment now);
  void counted(bool probe, Moment now);
  void tally(bool failed, Moment now);
  bool enoughOfAll(Moment now) const;
  void move(Circuit to, Moment now);
  void open(Moment now);
  void close(Moment now);

  BreakerRules rules_;
  Circuit circuit_ = Circuit::Closed;
  Forced forced_ = Forced::None;
  std::uint64_t generation_ = 1;
  Moment since_;
  Moment closed_since_;
  std::deque<Moment> failures_;  // the latest, as many as open it
  std::deque<Second> seconds_;   // of the window, where a share is asked for
  Moment open_until_{};
  int openings_ = 0;  // running, without a time of being well between
  bool probing_ = false;
  Moment lease_ends_{};
  std::string other_prober_;  // whom it stood back for, last
  Moment other_until_{};      // the end of that one's lease
  Moment stands_back_until_{};
  Moment throttled_until_{};
  std::map<std::string, Latch> latches_;  // by model; of the empty one: all of them
  Transitions transitions_{};
};

}  // namespace aragora::providers
