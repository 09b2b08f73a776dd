#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "daemon/providers/breaker.h"

namespace aragora::providers {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

const Moment kStart = Moment{} + hours(1);
Moment at(double second) { return kStart + milliseconds(static_cast<std::int64_t>(second * 1000)); }

// One machine and the words of a trace.
struct Trace {
  explicit Trace(BreakerRules rules = {}) : machine(std::move(rules), kStart) {}
  BreakerMachine machine;

  std::optional<Admission> admit(double second, Span lease = seconds(150), const std::string& model = {}) {
    const auto decided = machine.admit(at(second), lease, model);
    if (const auto* admission = std::get_if<Admission>(&decided)) return *admission;
    rejection = std::get<Rejection>(decided);
    return std::nullopt;
  }
  void call(double second, std::optional<FailureKind> failure, std::optional<Span> asked = {}) {
    const auto admission = admit(second);
    ASSERT_TRUE(admission) << second;
    machine.settle(*admission, {failure, asked, "because", "m", false}, at(second));
  }
  void fail(double second) { call(second, FailureKind::Server); }
  void succeed(double second) { call(second, std::nullopt); }
  Rejection rejection;
};

Trace opened(double second = 2) {
  Trace trace;
  trace.fail(second - 2);
  trace.fail(second - 1);
  trace.fail(second);
  return trace;
}

TEST(Breaker, OpensAtTheThirdFailureWithinTheWindow) {
  Trace trace;
  trace.fail(0);
  trace.fail(30);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  trace.fail(59.999);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Open);
}

TEST(Breaker, ForgetsAFailureThatIsAWholeWindowOld) {
  Trace trace;
  trace.fail(0);
  trace.fail(30);
  trace.fail(60);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  EXPECT_EQ(trace.machine.recentFailures(at(60)), 2U);
}

TEST(Breaker, IsNotMendedByASuccessBetween) {
  Trace trace;
  trace.fail(0);
  trace.fail(1);
  trace.succeed(1.5);
  trace.fail(2);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Open);
}

TEST(Breaker, LetsOneCallProbeAfterTheCoolDown) {
  auto trace = opened();
  EXPECT_FALSE(trace.admit(61.9));
  EXPECT_EQ(trace.rejection.why, Refusal::Open);
  EXPECT_EQ(trace.rejection.left, milliseconds(100));
  const auto probe = trace.admit(62);
  ASSERT_TRUE(probe);
  EXPECT_TRUE(probe->probe);
  EXPECT_FALSE(trace.admit(62));
  EXPECT_EQ(trace.rejection.why, Refusal::Probing);
  trace.machine.settle(*probe, {FailureKind::Timeout, {}, "", "", false}, at(63));
  EXPECT_EQ(trace.machine.circuit(), Circuit::Open);
  EXPECT_EQ(trace.machine.openFor(at(63)), seconds(120)) << "doubled";
  EXPECT_FALSE(trace.admit(182.9));
  EXPECT_TRUE(trace.admit(183));
}

TEST(Breaker, ClosesWithNothingHeldAgainstItWhenTheProbeIsAnswered) {
  auto trace = opened();
  trace.succeed(62);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  EXPECT_EQ(trace.machine.recentFailures(at(62)), 0U);
  trace.fail(63);
  trace.fail(64);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  trace.fail(65);
  EXPECT_EQ(trace.machine.openFor(at(65)), seconds(120)) << "again within a window of closing: it doubles";
}

TEST(Breaker, BeginsWithTheFirstCoolDownOnceItWasClosedForAWindow) {
  auto trace = opened();
  trace.succeed(62);
  for (const double second : {122.0, 123.0, 124.0}) trace.fail(second);
  EXPECT_EQ(trace.machine.openFor(at(124)), seconds(60));
}

TEST(Breaker, CoolsDownForTenMinutesAtMost) {
  auto trace = opened();
  double second = 2;
  for (const int expected : {60, 120, 240, 480, 600, 600}) {
    EXPECT_EQ(trace.machine.openFor(at(second)), seconds(expected));
    second += expected;
    trace.fail(second);
  }
}

TEST(Breaker, SpreadsItsCoolDownByATenth) {
  for (const double jitter : {-1.0, 0.5, 1.0}) {
    Trace trace({.jitter = [jitter] { return jitter; }});
    for (const double second : {0.0, 1.0, 2.0}) trace.fail(second);
    EXPECT_EQ(trace.machine.openFor(at(2)).count(), static_cast<std::int64_t>(60'000 + 6'000 * jitter));
  }
}

TEST(Breaker, TakesThePlaceFromAProbeThatNeverComesBack) {
  auto trace = opened();
  const auto lost = trace.admit(62, seconds(30));
  ASSERT_TRUE(lost);
  EXPECT_FALSE(trace.admit(91.9));
  EXPECT_EQ(trace.rejection.why, Refusal::Probing);
  EXPECT_FALSE(trace.admit(92)) << "as a failure";
  EXPECT_EQ(trace.rejection.why, Refusal::Open);
  EXPECT_EQ(trace.rejection.left, seconds(120));
  EXPECT_TRUE(trace.admit(212)) << "the place is free";
  trace.machine.settle(*lost, {}, at(213));
  EXPECT_EQ(trace.machine.circuit(), Circuit::HalfOpen) << "what it says now is of before";
}

TEST(Breaker, IgnoresWhatIsLateFromBeforeItOpened) {
  Trace trace;
  const auto slow = trace.admit(0);
  const auto good = trace.admit(0);
  for (const double second : {0.0, 1.0, 2.0}) trace.fail(second);
  const auto probe = trace.admit(62);
  trace.machine.settle(*slow, {FailureKind::Timeout, {}, "", "", false}, at(63));
  EXPECT_EQ(trace.machine.circuit(), Circuit::HalfOpen);
  trace.machine.settle(*good, {}, at(63));
  EXPECT_EQ(trace.machine.circuit(), Circuit::HalfOpen);
  trace.machine.settle(*probe, {}, at(64));
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
}

TEST(Breaker, FreesThePlaceOfAProbeThatSaysNothingAboutTheProvider) {
  using Kind = FailureKind;
  auto trace = opened();
  double second = 62;
  for (const auto kind : {Kind::Request, Kind::Stopped, Kind::Refused, Kind::Empty}) {
    trace.call(second, kind);
    EXPECT_EQ(trace.machine.circuit(), Circuit::HalfOpen);
    second += 1;
  }
  trace.call(second, Kind::Throttled, seconds(5));
  EXPECT_EQ(trace.machine.circuit(), Circuit::HalfOpen);
  EXPECT_FALSE(trace.admit(second + 4));
  EXPECT_EQ(trace.rejection.why, Refusal::Throttled);
  trace.succeed(second + 5);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
}

// The original's fault: a quota error while it probes left it rejecting for ever.
TEST(Breaker, IsNotWedgedByAMoneyStopWhileItProbes) {
  auto trace = opened();
  trace.call(62, FailureKind::Money);
  EXPECT_FALSE(trace.admit(63));
  EXPECT_EQ(trace.rejection.why, Refusal::Blocked);
  EXPECT_EQ(trace.rejection.cause, FailureKind::Money);
  trace.machine.credentialChanged();
  trace.succeed(64);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
}

TEST(Breaker, CountsWhatOthersWouldSeeAndNothingElse) {
  using Kind = FailureKind;
  for (const auto kind :
       {Kind::Unreachable, Kind::Timeout, Kind::Server, Kind::Malformed, Kind::Cut, Kind::Throttled}) {
    Trace trace;
    for (int i = 0; i < 3; ++i) trace.call(i, kind);
    EXPECT_EQ(trace.machine.circuit(), Circuit::Open) << name(kind);
  }
  for (const auto kind : {Kind::Request, Kind::Refused, Kind::Empty, Kind::Stopped, Kind::Rejected}) {
    Trace trace;
    for (int i = 0; i < 20; ++i) trace.call(i, kind);
    EXPECT_EQ(trace.machine.circuit(), Circuit::Closed) << name(kind);
  }
}

TEST(Breaker, HoldsEverybodyBackWhileTheProviderAsksForIt) {
  Trace trace;
  trace.call(0, FailureKind::Throttled, seconds(20));
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  EXPECT_EQ(trace.machine.recentFailures(at(0)), 0U);
  EXPECT_FALSE(trace.admit(19.9));
  EXPECT_EQ(trace.rejection.left, milliseconds(100));
  EXPECT_TRUE(trace.admit(20));
  trace.call(21, FailureKind::Throttled, hours(48));
  EXPECT_EQ(trace.machine.throttledFor(at(21)), seconds(600)) << "nobody shuts us out for two days";
}

TEST(Breaker, AsksNoMoreWithAKeyThatIsRefused) {
  Trace trace;
  trace.call(0, FailureKind::Credential);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  EXPECT_FALSE(trace.admit(1));
  EXPECT_EQ(trace.rejection.reason, "because");
  trace.machine.credentialChanged();
  EXPECT_TRUE(trace.admit(2));
}

TEST(Breaker, FindsOutForItselfThatAnAccountHasMoneyAgain) {
  Trace trace;
  trace.call(0, FailureKind::Money);
  EXPECT_FALSE(trace.admit(599));
  ASSERT_TRUE(trace.admit(600)) << "one call every ten minutes";
  EXPECT_FALSE(trace.admit(600));
  trace.succeed(1200);
  EXPECT_TRUE(trace.admit(1201));
}

// A member who names a model that there is not must not keep all others from the provider.
TEST(Breaker, BlocksOneModelWithoutTheOthers) {
  Trace trace;
  const auto call = trace.admit(0, seconds(1), "no-such-model");
  trace.machine.settle(*call, {FailureKind::Credential, {}, "status 404", "no-such-model", true}, at(0));
  EXPECT_FALSE(trace.admit(1, seconds(1), "no-such-model"));
  EXPECT_TRUE(trace.admit(1, seconds(1), "a-model"));
  EXPECT_EQ(trace.machine.blocked(), "no-such-model: status 404");
  for (int i = 0; i < 1000; ++i) {
    const auto model = "model-" + std::to_string(i);
    if (const auto other = trace.admit(2, seconds(1), model))
      trace.machine.settle(*other, {FailureKind::Credential, {}, "status 404", model, true}, at(2));
  }
  EXPECT_TRUE(trace.admit(3, seconds(1), "a-model"));
}

TEST(Breaker, NeedsAShareOfFailuresWhereOneIsAskedFor) {
  Trace trace({.least_failure_percent = 50});
  for (int i = 0; i < 100; ++i) trace.succeed(1 + i * 0.01);
  for (int i = 0; i < 50; ++i) trace.fail(10 + i * 0.01);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  for (int i = 0; i < 50; ++i) trace.fail(11 + i * 0.01);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Open);
}

TEST(Breaker, TakesFiveFailuresInTwoMinutesOfOpenRouter) {
  Trace trace({.failures = 5, .window = seconds(120)});
  for (const double second : {0.0, 30.0, 60.0, 90.0}) trace.fail(second);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  trace.fail(119.999);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Open);
  EXPECT_FALSE(trace.admit(239));
  EXPECT_TRUE(trace.admit(239.999));
  Trace whole_window({.failures = 5, .window = seconds(120)});
  for (const double second : {0.0, 30.0, 60.0, 90.0, 120.0}) whole_window.fail(second);
  EXPECT_EQ(whole_window.machine.circuit(), Circuit::Closed);
  whole_window.fail(149.999);
  EXPECT_EQ(whole_window.machine.circuit(), Circuit::Open);
}

TEST(Breaker, DoesAsAnAdministratorSays) {
  Trace trace;
  trace.machine.force(Forced::Open, at(0));
  EXPECT_FALSE(trace.admit(10'000));
  EXPECT_EQ(trace.rejection.why, Refusal::Forced);
  trace.machine.force(Forced::Closed, at(10'000));
  for (int i = 0; i < 20; ++i) trace.fail(10'000 + i);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  trace.machine.reset(at(11'000));
  EXPECT_EQ(trace.machine.forced(), Forced::None);
  for (int i = 0; i < 3; ++i) trace.fail(11'000 + i);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Open);
  trace.machine.reset(at(11'010));
  EXPECT_TRUE(trace.admit(11'010));
}

TEST(Breaker, OpensForWhatAnotherInstanceSawAndFindsOutForItself) {
  Trace trace;
  trace.machine.toldOpened(hours(24), at(0));
  EXPECT_EQ(trace.machine.circuit(), Circuit::Open);
  EXPECT_EQ(trace.machine.openFor(at(0)), seconds(60)) << "whoever can write to Redis shuts nobody out for a day";
  trace.machine.toldWell(at(10));
  trace.succeed(10);
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
}

// Whatever happens, in whatever order: never two probes, and never shut for good.
TEST(Breaker, HasOneProbeAtMostAndIsNeverWedgedWhateverHappens) {
  constexpr auto kMost = seconds(600 + 60 + 150);
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::minstd_rand random(seed);
    const auto below = [&](int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random); };
    BreakerMachine machine({.jitter = [&] { return below(3) - 1.0; }}, kStart);
    auto now = kStart;
    std::vector<std::pair<Admission, Moment>> under_way;
    for (int step = 0; step < 400; ++step) {
      now += milliseconds(below(4) == 0 ? below(200'000) : below(3'000));
      const int what = below(100);
      if (what < 55) {
        const auto decided = machine.admit(now, seconds(30));
        if (const auto* admission = std::get_if<Admission>(&decided)) under_way.emplace_back(*admission, now);
      } else if (what < 95 && !under_way.empty()) {
        const auto one = under_way.begin() + below(static_cast<int>(under_way.size()));
        CallResult result;
        if (below(3) > 0) result.failure = static_cast<FailureKind>(below(static_cast<int>(kFailureKinds)));
        if (below(2) == 0) result.asked_pause = milliseconds(below(100'000));
        machine.settle(one->first, result, now);
        under_way.erase(one);
      } else if (what == 96) {
        machine.toldOpened(milliseconds(below(1'000'000)), now);
      } else if (what == 97) {
        machine.credentialChanged();
      }
      const auto probes =
          std::count_if(under_way.begin(), under_way.end(), [&](const std::pair<Admission, Moment>& one) {
            return one.first.probe && one.first.generation == machine.generation() && now < one.second + seconds(30);
          });
      ASSERT_LE(probes, 1) << "seed " << seed << ", step " << step;
    }
    ASSERT_TRUE(std::holds_alternative<Admission>(machine.admit(now + kMost, seconds(30))) ||
                std::holds_alternative<Admission>(machine.admit(now + 2 * kMost, seconds(30))))
        << "seed " << seed;
  }
}

// The machine with a lock and a clock.
struct Clock {
  std::atomic<std::int64_t> milliseconds{0};
  std::function<Moment()> function() {
    return [this] { return kStart + Span(milliseconds.load()); };
  }
};

void failTimes(Breaker& breaker, int times) {
  for (int i = 0; i < times; ++i)
    std::get<Breaker::Permit>(breaker.admit(seconds(30))).settle({FailureKind::Server, {}, "status 500", {}, false});
}

TEST(Breaker, AdmitsOneProbeOfTwentyThreads) {
  for (int round = 0; round < 50; ++round) {
    Clock clock;
    Breaker breaker({.provider = "p", .clock = clock.function()});
    failTimes(breaker, 3);
    clock.milliseconds = 60'000;
    std::atomic<int> admitted{0};
    std::atomic<bool> go{false};
    std::atomic<int> waiting{20};
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 20; ++i)
        threads.emplace_back([&] {
          while (!go) std::this_thread::yield();
          auto decided = breaker.admit(seconds(30));
          admitted += std::holds_alternative<Breaker::Permit>(decided);
          for (--waiting; waiting > 0;) std::this_thread::yield();  // nobody gives it back before all have asked
        });
      go = true;
    }
    ASSERT_EQ(admitted, 1);
  }
}

TEST(Breaker, GivesAPermitBackOnEveryWayOut) {
  Clock clock;
  Breaker breaker({.provider = "p", .clock = clock.function()});
  failTimes(breaker, 3);
  clock.milliseconds = 60'000;
  for (int i = 0; i < 5; ++i) {
    try {
      const auto permit = std::get<Breaker::Permit>(breaker.admit(seconds(30)));
      throw std::runtime_error("of somebody else");
    } catch (const std::runtime_error&) {
    }
    EXPECT_EQ(breaker.state().circuit, Circuit::HalfOpen);
  }
  EXPECT_EQ(breaker.state().probes[2], 5U);
}

TEST(Breaker, TellsTheOthersAndIsToldByThem) {
  Clock clock;
  std::vector<BreakerEvent> news;
  Breaker breaker({.provider = "p", .clock = clock.function(), .on_news = [&](const BreakerNews& one) {
                     EXPECT_EQ(one.provider, "p");
                     news.push_back(one.event);
                   }});
  failTimes(breaker, 3);
  clock.milliseconds = 60'000;
  std::get<Breaker::Permit>(breaker.admit(seconds(30))).settle({});
  breaker.force(Forced::Open);
  breaker.reset();
  using Event = BreakerEvent;
  EXPECT_EQ(news, (std::vector{Event::Opened, Event::Well, Event::ForcedOpen, Event::Reset}));
  breaker.hear(Event::Opened, seconds(30));
  EXPECT_EQ(breaker.state().circuit, Circuit::Open);
  breaker.hear(Event::Reset, seconds(0));
  EXPECT_EQ(breaker.state().circuit, Circuit::Closed);
  EXPECT_EQ(news.size(), 4U) << "no echo";
  for (const auto event : {Event::Opened, Event::Well, Event::Reset, Event::ForcedOpen, Event::ForcedClosed})
    EXPECT_EQ(parseBreakerEvent(name(event)), event);
  EXPECT_FALSE(parseBreakerEvent("opened"));
}

TEST(Breaker, TellsTheOthersOfAProbeThatNeverCameBackOnce) {
  const std::vector<std::function<void(Breaker&)>> whoever_looks{
      [](Breaker& breaker) { EXPECT_EQ(breaker.state().circuit, Circuit::Open); },
      [](Breaker& breaker) { EXPECT_TRUE(std::holds_alternative<Rejection>(breaker.admit(seconds(30)))); },
      [](Breaker& breaker) { breaker.hear(BreakerEvent::Opened, seconds(1)); }};
  for (const auto& look : whoever_looks) {
    Clock clock;
    std::vector<std::pair<BreakerEvent, Span>> news;
    Breaker breaker({.provider = "p", .clock = clock.function(), .on_news = [&](const BreakerNews& one) {
                       news.emplace_back(one.event, one.left);
                     }});
    failTimes(breaker, 3);
    clock.milliseconds = 60'000;
    auto probe = std::get<Breaker::Permit>(breaker.admit(seconds(30)));
    clock.milliseconds = 91'000;
    look(breaker);
    using Expected = std::vector<std::pair<BreakerEvent, Span>>;
    EXPECT_EQ(news, (Expected{{BreakerEvent::Opened, seconds(60)}, {BreakerEvent::Opened, seconds(119)}}));
    look(breaker);
    probe.settle({});
    EXPECT_EQ(breaker.state().circuit, Circuit::Open);
    EXPECT_EQ(news.size(), 2U) << "what came too late says nothing more";
  }
}

TEST(Breaker, KeepsNumbersOfWhatItSaw) {
  Clock clock;
  Breaker breaker({.provider = "p", .clock = clock.function()});
  {
    auto permit = std::get<Breaker::Permit>(breaker.admit(seconds(30)));
    clock.milliseconds = 1200;
    permit.settle({});
  }
  failTimes(breaker, 3);
  EXPECT_TRUE(std::holds_alternative<Rejection>(breaker.admit(seconds(30))));
  clock.milliseconds = 5200;
  const auto state = breaker.state();
  EXPECT_EQ(state.last_latency, milliseconds(1200));
  EXPECT_EQ(state.answers, 1U);
  EXPECT_EQ(state.failures[static_cast<std::size_t>(FailureKind::Server)], 3U);
  EXPECT_EQ(state.rejected[static_cast<std::size_t>(Refusal::Open)], 1U);
  EXPECT_EQ(state.transitions[0][2], 1U);
  EXPECT_EQ(state.in_state, seconds(4));
  EXPECT_EQ(state.last_failure, "status 500");
  EXPECT_FALSE(state.usable());
}

}  // namespace
}  // namespace aragora::providers
