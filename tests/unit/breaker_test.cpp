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

TEST(Breaker, StandsBackForTheProbeOfAnotherInstanceAndTakesItsResult) {
  for (const bool well : {true, false}) {
    auto trace = opened();
    const auto probe = trace.admit(62);
    const auto rejected = trace.machine.standBack(*probe, "theirs", seconds(40), at(62));
    ASSERT_TRUE(rejected);
    EXPECT_EQ(rejected->why, Refusal::Probing);
    EXPECT_EQ(rejected->left, seconds(40));
    EXPECT_FALSE(trace.admit(62.9));
    EXPECT_EQ(trace.rejection.why, Refusal::Probing);
    EXPECT_EQ(trace.rejection.left, milliseconds(39'100));
    if (well) {
      trace.machine.toldWell(at(63));
      EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
    } else {
      trace.machine.toldOpened(seconds(120), at(63));
      EXPECT_EQ(trace.machine.circuit(), Circuit::Open);
      EXPECT_EQ(trace.machine.openFor(at(63)), seconds(60));
    }
  }
}

TEST(Breaker, AsksAgainEverySecondWhetherTheOtherStillProbes) {
  auto trace = opened();
  double second = 62;
  for (; second < 102; second += 1) {
    const auto probe = trace.admit(second);
    ASSERT_TRUE(probe) << second;
    EXPECT_FALSE(trace.admit(second)) << "one of many asks";
    const auto rejected = trace.machine.standBack(*probe, "theirs", hours(1), at(second));
    ASSERT_TRUE(rejected) << second;
    EXPECT_FALSE(trace.admit(second + 0.9));
  }
  const auto probe = trace.admit(second);
  ASSERT_TRUE(probe);
  trace.machine.settle(*probe, {}, at(second));
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
}

// A lease that is forged, or that nobody gives back: as long as one may last, and no longer.
TEST(Breaker, BelievesALeaseForAsLongAsOneMayLast) {
  auto trace = opened();
  const auto stood_back = [&](double second, const std::string& prober) {
    const auto probe = trace.admit(second);
    EXPECT_TRUE(probe) << second;
    return trace.machine.standBack(*probe, prober, Span::max(), at(second)).has_value();
  };
  EXPECT_TRUE(stood_back(62, "forged"));
  EXPECT_TRUE(stood_back(186.9, "forged"));
  EXPECT_FALSE(stood_back(187, "forged")) << "125 s";
  EXPECT_FALSE(trace.admit(188)) << "it probes now";
  trace.machine.reset(at(188));
  for (const double second : {188.0, 189.0, 190.0}) trace.fail(second);
  EXPECT_FALSE(stood_back(250, "forged")) << "once, and not each time";
  auto other = opened();
  other.machine.standBack(*other.admit(62), "first", seconds(10), at(62));
  EXPECT_TRUE(other.machine.standBack(*other.admit(72), "second", seconds(10), at(72))) << "another one's";
  EXPECT_FALSE(other.machine.standBack(*other.admit(82), "second", Span::max(), at(82)));
}

TEST(Breaker, LeavesItsOwnProbeAloneWhateverOthersSay) {
  auto trace = opened();
  const auto probe = trace.admit(62);
  trace.machine.toldOpened(seconds(60), at(63));
  trace.machine.toldWell(at(63));
  EXPECT_EQ(trace.machine.circuit(), Circuit::HalfOpen);
  trace.machine.settle(*probe, {}, at(64));
  EXPECT_EQ(trace.machine.circuit(), Circuit::Closed);
  EXPECT_FALSE(trace.machine.standBack(*probe, "theirs", seconds(40), at(65))) << "of an older generation";
}

TEST(Breaker, WaitsAnewWhenAProbeThatItDidNotMakeFailed) {
  auto trace = opened();
  trace.machine.toldOpened(seconds(120), at(30));
  EXPECT_EQ(trace.machine.openFor(at(30)), seconds(32)) << "nobody is kept out for longer by being told so";
  trace.machine.toldOpened(seconds(120), at(62));
  EXPECT_EQ(trace.machine.openFor(at(62)), seconds(60));
  EXPECT_FALSE(trace.admit(121.9));
  EXPECT_TRUE(trace.admit(122));
}

TEST(Breaker, FindsOutAboutAKeyAfterItStoodBack) {
  auto trace = opened();
  trace.call(62, FailureKind::Money);
  const auto probe = trace.admit(662);
  ASSERT_TRUE(probe);
  EXPECT_TRUE(trace.machine.standBack(*probe, "theirs", seconds(40), at(662), "m"));
  EXPECT_TRUE(trace.admit(663)) << "not ten minutes later";
}

// Whatever happens, in whatever order: never two probes, and never shut for good.
TEST(Breaker, HasOneProbeAtMostAndIsNeverWedgedWhateverHappens) {
  constexpr auto kMost = seconds(600 + 60 + 150 + 125);
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
      } else if (what == 98) {
        machine.toldWell(now);
      } else if (what == 99 && !under_way.empty() && under_way.back().first.probe) {
        const auto prober = std::string(below(2) == 0 ? "a" : "b");
        if (machine.standBack(under_way.back().first, prober, milliseconds(below(1'000'000)), now))
          under_way.pop_back();
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

// The leases of a Redis, and what may be wrong with it.
struct FakeLeases : ProbeLeases {
  explicit FakeLeases(const Clock& of) : clock(of) {}
  std::optional<Held> take(const std::string& provider, const std::string& probe, Span lease) override {
    ++asked;
    if (away) return std::nullopt;
    const std::lock_guard lock(mutex);
    auto& [holder, until] = held[provider];
    if (!holder.empty() && clock.milliseconds < until) return Held{holder, Span(until - clock.milliseconds)};
    holder = probe;
    until = clock.milliseconds + lease.count();
    return std::nullopt;
  }
  void giveBack(const std::string& provider, const std::string& probe) override {
    if (deaf) return;
    const std::lock_guard lock(mutex);
    if (held[provider].first == probe) held.erase(provider);
  }
  const Clock& clock;
  std::mutex mutex;
  std::map<std::string, std::pair<std::string, std::int64_t>> held;
  std::atomic<int> asked{0};
  bool away = false;
  bool deaf = false;  // nothing is given back
};

// Two instances that tell each other what becomes of their circuits, unless hints are lost.
struct TwoInstances {
  Clock clock;
  FakeLeases leases{clock};
  bool hints = true;
  Breaker first{options([this](const BreakerNews& news) {
    if (hints) second.hear(news.event, news.left);
  })};
  Breaker second{options([this](const BreakerNews& news) {
    if (hints) first.hear(news.event, news.left);
  })};
  BreakerOptions options(std::function<void(const BreakerNews&)> on_news) {
    return {.provider = "p", .clock = clock.function(), .on_news = std::move(on_news), .leases = &leases};
  }
  // Open, and the cool-down is over.
  TwoInstances() {
    failTimes(first, 3);
    EXPECT_EQ(leases.asked, 0) << "a call that is no probe asks nobody";
    clock.milliseconds = 60'000;
  }
};

Breaker::Permit permitOf(Breaker& breaker) { return std::get<Breaker::Permit>(breaker.admit(seconds(30))); }
bool letsThrough(Breaker& breaker) { return std::holds_alternative<Breaker::Permit>(breaker.admit(seconds(30))); }
const CallResult kServerFailed{FailureKind::Server, {}, "status 500", {}, false};

TEST(ProbeLeases, OneOfTwoInstancesProbesAndBothClose) {
  TwoInstances two;
  auto probe = permitOf(two.first);
  const auto rejected = std::get<Rejection>(two.second.admit(seconds(30)));
  EXPECT_EQ(rejected.why, Refusal::Probing);
  EXPECT_EQ(rejected.left, seconds(30));
  EXPECT_EQ(two.second.state().rejected[static_cast<std::size_t>(Refusal::Probing)], 1U);
  EXPECT_EQ(two.second.state().probes, (std::array<std::uint64_t, 3>{})) << "nothing was made of it";
  EXPECT_EQ(two.second.state().failures[static_cast<std::size_t>(FailureKind::Stopped)], 0U);
  probe.settle({});
  EXPECT_EQ(two.first.state().circuit, Circuit::Closed);
  EXPECT_EQ(two.second.state().circuit, Circuit::Closed);
  EXPECT_TRUE(two.leases.held.empty());
  EXPECT_EQ(two.leases.asked, 2);
}

TEST(ProbeLeases, WhatTheOneProbeFailedHoldsTheOtherBack) {
  TwoInstances two;
  permitOf(two.first).settle(kServerFailed);
  EXPECT_EQ(two.second.state().open_for, seconds(60));
  EXPECT_FALSE(letsThrough(two.second));
  EXPECT_TRUE(two.leases.held.empty());
}

TEST(ProbeLeases, AreGivenBackOnEveryWayOut) {
  TwoInstances two;
  for (const auto kind : {FailureKind::Request, FailureKind::Stopped, FailureKind::Money}) {
    permitOf(two.first).settle({kind, {}, "because", {}, false});
    EXPECT_TRUE(two.leases.held.empty()) << name(kind);
  }
  two.first.credentialChanged();
  { const auto dropped = permitOf(two.first); }
  EXPECT_TRUE(two.leases.held.empty());
  EXPECT_TRUE(letsThrough(two.second));
}

TEST(ProbeLeases, OfAnInstanceThatDiedRunOut) {
  TwoInstances two;
  two.hints = false;
  const auto lost = permitOf(two.first);
  EXPECT_FALSE(letsThrough(two.second));
  two.clock.milliseconds = 89'999;
  EXPECT_FALSE(letsThrough(two.second));
  two.clock.milliseconds = 90'000;
  auto probe = permitOf(two.second);
  EXPECT_EQ(two.leases.held.at("p").second, 120'000);
  EXPECT_FALSE(letsThrough(two.second));
  probe.settle({});
  EXPECT_EQ(two.second.state().circuit, Circuit::Closed);
}

TEST(ProbeLeases, AHintThatWasLostCostsASecond) {
  TwoInstances two;
  auto probe = permitOf(two.first);
  EXPECT_FALSE(letsThrough(two.second));
  two.hints = false;
  probe.settle({});
  EXPECT_FALSE(letsThrough(two.second));
  two.clock.milliseconds = 61'000;
  EXPECT_TRUE(letsThrough(two.second));
}

// Redis was away for a moment just then, and the probe was told to nobody.
TEST(ProbeLeases, OneThatWasNotGivenBackKeepsNobodyOutForLongerThanItsOwnerIsAskedNothing) {
  TwoInstances two;
  two.leases.deaf = true;
  permitOf(two.first).settle({FailureKind::Request, {}, "because", {}, false});
  ASSERT_EQ(two.leases.held.size(), 1U);
  EXPECT_FALSE(letsThrough(two.second)) << "it cannot know";
  EXPECT_TRUE(letsThrough(two.first)) << "also while it still cannot give it back";
  two.leases.deaf = false;
  {
    const auto probe = permitOf(two.first);
    two.clock.milliseconds = 61'000;
    EXPECT_FALSE(letsThrough(two.second)) << "the new probe holds it";
  }
  EXPECT_TRUE(two.leases.held.empty());
  two.clock.milliseconds = 62'000;
  EXPECT_TRUE(letsThrough(two.second));
}

TEST(ProbeLeases, WithoutThemEachProbesForItself) {
  TwoInstances two;
  two.leases.away = true;
  const auto one = permitOf(two.first);
  const auto other = permitOf(two.second);
  EXPECT_FALSE(letsThrough(two.first));
  EXPECT_FALSE(letsThrough(two.second));
}

TEST(ProbeLeases, OneOfTwentyThreadsAsksForThem) {
  TwoInstances two;
  const auto probe = permitOf(two.first);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 20; ++i) threads.emplace_back([&] { EXPECT_FALSE(letsThrough(two.second)); });
  }
  EXPECT_EQ(two.leases.asked, 2);
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
